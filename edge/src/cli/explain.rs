//! `explain`: what a code means, in the reader's language.

use clap::Args;
use huitong_config::{Language, explain, explain_all};

use super::{Done, Failure, Shell};

/// Says what a code means, why it comes, and what to do. Without a code it lists all.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// A code: of a declined operation, a problem, a refusal between store and hub, an exception, or a refused policy
    code: Option<String>,
    /// en or zh-CN [default: the language of LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

impl Explain {
    pub(super) fn execute(self, shell: &mut Shell<'_>) -> Done {
        let language = self.lang.unwrap_or_else(|| Language::of_environment(|name| std::env::var(name).ok()));
        let said = match &self.code {
            Some(code) => explain(code, language).map_err(|unknown| Failure::Refused(unknown.to_string(), None))?,
            None => explain_all(language),
        };
        let one = self.code.is_some();
        shell.print(&serde_json::to_value(&said)?, |_| {
            let texts: Vec<String> = said
                .iter()
                .map(|said| match one {
                    true => said.to_string(),
                    false => format!("{:<10} {:<28} {}", said.kind.as_str(), said.code, said.what),
                })
                .collect();
            texts.join("\n")
        })
    }
}
