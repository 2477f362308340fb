//! Rules: a policy on its way to the stores. One that is cut off does not get it, and trades on under what it has.

use std::collections::BTreeMap;

use anyhow::Context;

use super::chain::{HUB, text_of};
use super::command::Form;
use super::trade::{Floor, S1, S2, S3};

impl Floor<'_, '_> {
    /// Head office publishes tomorrow's policy while a store is cut off.
    pub(super) async fn policy_passes_by(&mut self) -> anyhow::Result<()> {
        let today = self.figures.business_day.context("no day was opened")?;
        let (file, tomorrow) = (self.chain.policy_of_tomorrow()?, today.tomorrow().to_string());
        let published =
            self.chain.head_office(Form::Text, &["policy", "publish", &file, "--effective-from", &tomorrow]).await?;
        published.text()?;
        self.narrator.step(HUB, "publishes tomorrow's policy: crisps are 3.00 off", &published.shown)?;
        for at in [S1, S3] {
            self.download(at).await?;
        }
        self.figures.shop.adoption.while_cut = self.adoption("sees who has it and who is behind").await?;
        Ok(())
    }

    /// The store that was cut off fetches what it missed.
    pub(super) async fn policy_arrives(&mut self) -> anyhow::Result<()> {
        self.download(S2).await?;
        self.figures.shop.adoption.after =
            self.adoption("sees that all have it, and use today's until tomorrow").await?;
        Ok(())
    }

    async fn adoption(&mut self, what: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let args = ["policy", "adoption"];
        let table = self.chain.head_office(Form::Text, &args).await?;
        self.narrator.step(HUB, what, &table.shown)?;
        self.narrator.page(table.text()?)?;
        let ended = self.chain.head_office(Form::Json, &args).await?;
        ended.text()?;
        let rows = ended.json()?;
        let rows = rows.as_array().context("there is no list of stores")?;
        rows.iter().map(|row| Ok((text_of(row, "store")?, text_of(row, "standing")?))).collect()
    }
}
