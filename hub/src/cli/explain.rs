//! `huitong-hub explain`: what a code means, in the reader's language.

use clap::Args;
use huitong_config::{Language, explain, explain_all};

use super::{Failure, Output};

/// Says what a code means, why it comes, and what to do. Without a code it lists all.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A code: of a declined operation, a problem, a refusal between store and hub, an exception, or a refused policy.
    code: Option<String>,
    /// en or zh-CN [default: the language of LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

impl Explain {
    pub(crate) fn run(self, out: &mut Output<'_>) -> Result<(), Failure> {
        let language = self.lang.unwrap_or_else(|| Language::of_environment(|name| std::env::var(name).ok()));
        let said = match &self.code {
            Some(code) => explain(code, language).map_err(|unknown| Failure::Refused(unknown.to_string()))?,
            None => explain_all(language),
        };
        let one = self.code.is_some();
        out.show(&said, |text| {
            for (index, said) in said.iter().enumerate() {
                if one {
                    if index > 0 {
                        writeln!(text)?;
                    }
                    write!(text, "{said}")?;
                } else {
                    writeln!(text, "{:<10} {:<28} {}", said.kind.as_str(), said.code, said.what)?;
                }
            }
            Ok(())
        })?;
        Ok(())
    }
}
