//! Exceptions: head office looks for what is not right, a person takes it, puts it right and says so.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::chain::{HUB, text_of};
use super::command::{Ended, Form};
use super::figures::ExceptionFigures;
use super::trade::{Floor, S1, S2};

const MANAGER: &str = "李雷";
const CLERK: &str = "王敏";
/// What tills sold by a code that nobody imported.
const GOODS: &str = "sku,name,category_path,tax_rate\ngoods,散装货品,食品,13%\n";

impl Floor<'_, '_> {
    /// What was sold and is in no item master is found, given to somebody, imported, and closed.
    pub(super) async fn exceptions(&mut self) -> anyhow::Result<()> {
        self.narrator.heading("17:00  Head office looks into what is not right")?;
        for at in [S1, S2] {
            let sent = self.chain.shops[at].command(Form::Text, &["sync", "now", "--upload"]).await?;
            sent.text()?;
        }
        self.look("looks for it now, not at the next round", &["exception", "find"]).await?;
        self.look("sees what nobody has dealt with", &["exception", "list"]).await?;
        let found = self.listed(&["exception", "list"]).await?;
        let first = found.first().context("nothing was found, and goods without a master were sold")?;
        let number = first["number"].to_string();
        self.look("reads what was found, and what to do", &["exception", "show", &number]).await?;
        let assign = ["exception", "assign", &number, "--to", CLERK, "--by", MANAGER];
        self.told(&format!("{MANAGER} gives it to {CLERK}"), &assign).await?;
        let file = self.chain.file("goods.csv", GOODS)?;
        self.told(&format!("{CLERK} imports the item"), &["item", "import", &file]).await?;
        for exception in &found {
            let (number, class) = (exception["number"].to_string(), text_of(exception, "class")?);
            let note = "the item is in the master now";
            let resolve = ["exception", "resolve", &number, "--note", note, "--by", CLERK];
            self.told(&format!("{CLERK} closes it: {}", text_of(exception, "subject")?), &resolve).await?;
            self.figures.exceptions.raised.push(class);
        }
        self.look("sees all that happened to it", &["exception", "show", &number]).await?;
        self.look("looks again: nothing is new", &["exception", "find"]).await?;
        let figures = ExceptionFigures {
            raised: std::mem::take(&mut self.figures.exceptions.raised),
            resolved_by: self.resolved_by().await?,
            left: self.listed(&["exception", "list"]).await?.len(),
        };
        ensure!(figures.raised.iter().all(|class| class == "unknown_item"), "there is more: {:?}", figures.raised);
        self.figures.exceptions = figures;
        Ok(())
    }

    async fn resolved_by(&self) -> anyhow::Result<Vec<String>> {
        let resolved = self.listed(&["exception", "list", "--state", "resolved"]).await?;
        resolved.iter().map(|exception| text_of(exception, "resolved_by")).collect()
    }

    async fn listed(&self, args: &[&str]) -> anyhow::Result<Vec<Value>> {
        let ended = self.chain.head_office(Form::Json, args).await?;
        ended.text()?;
        ended.json()?.as_array().cloned().context("there is no list of exceptions")
    }

    async fn told(&mut self, what: &str, args: &[&str]) -> anyhow::Result<Ended> {
        let ended = self.chain.head_office(Form::Text, args).await?;
        ended.text()?;
        self.narrator.step(HUB, what, &ended.shown)?;
        Ok(ended)
    }

    async fn look(&mut self, what: &str, args: &[&str]) -> anyhow::Result<()> {
        let ended = self.told(what, args).await?;
        Ok(self.narrator.page(ended.text()?)?)
    }
}
