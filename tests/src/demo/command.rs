//! Command: runs the command lines of both daemons in this process, with a configuration file each, as an operator types them.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, ensure};
use huitong_hub::cli::World;
use huitong_hub::clock::SystemClock;
use serde_json::Value;

/// How a command ended.
pub(super) struct Ended {
    /// As typed, paths shortened to their names.
    pub shown: String,
    /// The exit code.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// What it wrote, when it went well.
    ///
    /// # Errors
    /// What it complained of, with its exit code.
    pub(super) fn text(&self) -> anyhow::Result<&str> {
        let Self { shown, code, out, err } = self;
        ensure!(*code == 0, "{shown} ended with exit code {code}: {}{}", err.trim(), out.trim());
        Ok(out)
    }

    /// What it wrote as JSON, whatever the exit code.
    ///
    /// # Errors
    /// When it is no JSON.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out)
            .with_context(|| format!("{} did not write JSON: {}{}", self.shown, self.out, self.err))
    }
}

/// Which form the result has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Runs `huitong-hub --config FILE ARGS`.
pub(super) async fn hub(config: &Path, form: Form, args: &[&str]) -> anyhow::Result<Ended> {
    let (line, shown) = line("huitong-hub", config, form, args);
    let ended = tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let world = World { clock: std::sync::Arc::new(SystemClock), progress: false };
        let code = world.main(line, &mut out, &mut err);
        (code, out, err)
    });
    let (code, out, err) = ended.await?;
    ended_with(shown, code, out, err)
}

/// Runs `huitong-edge --config FILE ARGS`.
pub(super) async fn edge(config: &Path, form: Form, args: &[&str]) -> anyhow::Result<Ended> {
    let (line, shown) = line("huitong-edge", config, form, args);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = huitong_edge::cli::main_from(line, &mut out, &mut err, std::future::pending()).await;
    ended_with(shown, code, out, err)
}

fn ended_with(shown: String, code: u8, out: Vec<u8>, err: Vec<u8>) -> anyhow::Result<Ended> {
    Ok(Ended { shown, code, out: String::from_utf8(out)?, err: String::from_utf8(err)? })
}

fn line(program: &str, config: &Path, form: Form, args: &[&str]) -> (Vec<OsString>, String) {
    let mut line: Vec<OsString> = vec![program.into(), "--config".into(), config.into()];
    if form == Form::Json {
        line.push("--json".into());
    }
    line.extend(args.iter().map(|&arg| arg.into()));
    (line, shown(program, args))
}

/// A command as people read it: folders and secrets are left away.
fn shown(program: &str, args: &[&str]) -> String {
    let mut words = vec![program.to_owned()];
    let mut is_secret = false;
    for arg in args {
        words.push(match Path::new(arg).file_name().and_then(std::ffi::OsStr::to_str) {
            _ if is_secret => "…".to_owned(),
            Some(name) if Path::new(arg).is_absolute() => name.to_owned(),
            _ if arg.contains(' ') => format!("'{arg}'"),
            _ => (*arg).to_owned(),
        });
        is_secret = *arg == "--token";
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_has_neither_folders_nor_secrets() {
        assert_eq!(
            shown("huitong-hub", &["store", "import", "/tmp/demo/stores.csv"]),
            "huitong-hub store import stores.csv"
        );
        assert_eq!(shown("huitong-hub", &["--note", "looked into"]), "huitong-hub --note 'looked into'");
        assert_eq!(shown("huitong-edge", &["enrol", "--token", "SECRET"]), "huitong-edge enrol --token …");
    }
}
