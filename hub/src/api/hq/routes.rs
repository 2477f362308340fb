//! Routes: the table that is both what is mounted and what the document describes, so that neither can have what the other lacks.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use huitong_protocol::openapi::{Method, Operation, Row};

use crate::hub::Hub;

/// Routes with their descriptions.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Hub>,
    rows: Vec<Row>,
}

impl Routes {
    /// None yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { router: Router::new(), rows: Vec::new() }
    }

    /// Adds a look-up.
    #[must_use]
    pub(super) fn get<H: Handler<T, Hub>, T: 'static>(self, path: &str, handler: H, operation: Operation) -> Self {
        self.add(Method::Get, path, handler, operation)
    }

    /// Adds what changes something, or asks with a body.
    #[must_use]
    pub(super) fn post<H: Handler<T, Hub>, T: 'static>(self, path: &str, handler: H, operation: Operation) -> Self {
        self.add(Method::Post, path, handler, operation)
    }

    fn add<H: Handler<T, Hub>, T: 'static>(
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

    /// What is mounted.
    pub(super) fn into_router(self) -> Router<Hub> {
        self.router
    }

    /// What is described.
    #[must_use]
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}
