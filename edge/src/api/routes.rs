//! Routes: the table that is both what is mounted and what the document describes, so that neither can have what the other lacks.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use huitong_protocol::openapi::{Method, Operation, Row};

use super::Api;

/// Routes with their descriptions.
#[derive(Default)]
pub struct Routes {
    router: Router<Api>,
    rows: Vec<Row>,
}

impl Routes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { router: Router::new(), rows: Vec::new() }
    }

    /// Adds a look-up.
    #[must_use]
    pub fn get<H: Handler<T, Api>, T: 'static>(self, path: &str, handler: H, operation: Operation) -> Self {
        self.add(Method::Get, path, handler, operation)
    }

    /// Adds what changes something, or asks with a body.
    #[must_use]
    pub fn post<H: Handler<T, Api>, T: 'static>(self, path: &str, handler: H, operation: Operation) -> Self {
        self.add(Method::Post, path, handler, operation)
    }

    fn add<H: Handler<T, Api>, T: 'static>(
        mut self,
        method: Method,
        path: &str,
        handler: H,
        operation: Operation,
    ) -> Self {
        let filter = match method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        };
        self.router = self.router.route(path, on(filter, handler));
        self.rows.push(Row { method, path: path.to_owned(), operation });
        self
    }

    /// Adds the routes of another table.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.rows.extend(other.rows);
        self
    }

    /// What is mounted.
    pub fn into_router(self) -> Router<Api> {
        self.router
    }

    /// What is described.
    #[must_use]
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}
