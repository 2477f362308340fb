//! `day`: the business day, through the running store.

use clap::Subcommand;
use huitong_protocol::till::OpenDay;
use huitong_protocol::time::BusinessDay;
use serde_json::json;

use super::api_client::ApiClient;
use super::{Done, Shell, render};

/// Opens, closes and reports the business day.
#[derive(Subcommand, Debug)]
pub(super) enum Day {
    /// Opens a day
    Open {
        /// Its label [default: by the store's calendar and rollover hour]
        #[arg(long, value_name = "YYYY-MM-DD")]
        business_day: Option<BusinessDay>,
        /// The label is meant, although it is far from the last closed day and from this machine's clock
        #[arg(long, requires = "business_day")]
        far_business_day_confirmed: bool,
    },
    /// Reports the open day
    X,
    /// Closes and seals the open day; the seal is uploaded at once
    Close,
    /// Reports a closed day
    Z {
        /// Which [default: the last]
        #[arg(long, value_name = "YYYY-MM-DD")]
        business_day: Option<BusinessDay>,
    },
}

impl Day {
    pub(super) async fn execute(self, shell: &mut Shell<'_>) -> Done {
        let api = ApiClient::of(shell)?;
        let answer = match self {
            Self::Open { business_day, far_business_day_confirmed } => {
                let wish = OpenDay { business_day, far_business_day_confirmed, ..OpenDay::default() };
                api.post("/v1/day/open", &json!(wish)).await?
            }
            Self::X => api.get("/v1/day/x").await?,
            Self::Close => api.post("/v1/day/close", &json!({})).await?,
            Self::Z { business_day: None } => api.get("/v1/day/z").await?,
            Self::Z { business_day: Some(day) } => api.get(&format!("/v1/day/z?business_day={day}")).await?,
        };
        shell.print(&answer, render::lines)
    }
}
