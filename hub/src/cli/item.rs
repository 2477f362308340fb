//! `huitong-hub item`: the item master in, and a look at it.

use clap::Subcommand;
use huitong_protocol::money::Money;

use super::organisation::Import;
use super::{Failure, Output, Place, World};
use crate::import;
use crate::store::engine::StoreError;
use crate::store::{item, root};

#[derive(Debug, Subcommand)]
pub(crate) enum ItemCommand {
    /// Import items: sku, name, [barcodes], [category_path], [brand], [counter], [supplier], [legal_entity], [tax_code], [tax_rate],
    /// [list_price], [member_price], [no_discount], [no_points], [no_coupon], [no_stored_value], [active].
    Import(Import),
    /// Show an item.
    Show {
        /// Its SKU or a barcode.
        code: String,
    },
}

impl ItemCommand {
    pub(crate) fn run(self, world: &World, place: &Place, out: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(world, place, out, import::items::import),
            Self::Show { code } => show(place, &code, out),
        }
    }
}

fn show(place: &Place, code: &str, out: &mut Output<'_>) -> Result<(), Failure> {
    let (item, currency) = place
        .open()?
        .read_blocking(|tx| Ok::<_, StoreError>((item::find_by_code(tx, code)?, root::hub(tx)?.currency)))?;
    let item = item.ok_or_else(|| {
        Failure::Refused(format!("no item has the SKU or barcode {code}\n  hint: huitong-hub item import FILE"))
    })?;
    out.show(&item, |text| {
        let price = |minor: Option<i64>| minor.map(|minor| Money { minor, currency }.to_string());
        let code = |id: Option<String>| id.unwrap_or_default();
        let flags = [
            (item.flags.no_discount, "no discount"),
            (item.flags.no_points, "no points"),
            (item.flags.no_coupon, "no coupon"),
            (item.flags.no_stored_value, "no stored value"),
            (!item.active, "not sold any more"),
        ];
        let rate = format!("{}.{:04}%", item.tax_ppm / 10_000, item.tax_ppm % 10_000);
        for (name, value) in [
            ("sku", item.sku.clone()),
            ("name", item.name.clone()),
            ("barcodes", item.barcodes.join(" ")),
            ("category", item.category_path.clone()),
            ("brand", item.brand.clone()),
            ("counter", code(item.counter.map(|id| id.to_string()))),
            ("supplier", code(item.supplier.map(|id| id.to_string()))),
            ("entity", code(item.legal_entity.map(|id| id.to_string()))),
            ("tax", format!("{} {rate}", item.tax_code).trim_start().to_owned()),
            ("price", code(price(item.list_price_minor))),
            ("members", code(price(item.member_price_minor))),
            ("flags", flags.iter().filter(|(set, _)| *set).map(|(_, words)| *words).collect::<Vec<_>>().join(", ")),
        ] {
            if !value.is_empty() {
                writeln!(text, "{name:<10} {value}")?;
            }
        }
        Ok(())
    })?;
    Ok(())
}
