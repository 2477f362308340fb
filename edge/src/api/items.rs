//! Items at the till: what the item master says of a SKU or barcode.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use huitong_protocol::item::{ItemLook, ItemsAsOf};
use huitong_protocol::wire::DatasetKind;

use super::posted::{PathPart, path_part};
use super::{Api, Code, Problem, Till};
use crate::store::{StoreError, item, replica};

pub(super) async fn look(State(api): State<Api>, _till: Till, code: PathPart) -> Result<Response, Problem> {
    let code: String = path_part("code", code)?;
    let look = api.store().look(|tx| {
        let Some(item) = item::find(tx, &code)? else { return Ok(None) };
        let as_of = ItemsAsOf { items: replica::version(tx, DatasetKind::Items)? };
        Ok::<_, StoreError>(Some(ItemLook { item, as_of }))
    })?;
    match look {
        Some(look) => Ok(Json(look).into_response()),
        None => Err(Problem::new(
            Code::ItemUnknown,
            "no item has this SKU or barcode; it can be sold at the till's price and is reported then",
        )),
    }
}

#[cfg(test)]
mod tests {
    use huitong_protocol::entry::LineFlags;
    use huitong_protocol::item::Item;
    use huitong_protocol::wire::{DatasetKind, DatasetPage, DatasetRow};

    use crate::ledger::testing::*;
    use crate::store::replica;

    fn item(sku: &str, barcodes: &[&str]) -> DatasetRow {
        DatasetRow::Item(Item {
            sku: sku.to_owned(),
            barcodes: barcodes.iter().map(|&barcode| barcode.to_owned()).collect(),
            name: format!("商品{sku}"),
            category_path: String::new(),
            brand: String::new(),
            counter: None,
            supplier: None,
            legal_entity: None,
            tax_code: String::new(),
            tax_ppm: 130_000,
            list_price_minor: Some(600),
            member_price_minor: None,
            flags: LineFlags::default(),
            active: true,
        })
    }

    async fn publish(shop: &Shop, through_version: u64, rows: Vec<DatasetRow>) {
        let page = DatasetPage {
            dataset: DatasetKind::Items,
            through_version,
            more: false,
            recovers: false,
            rows,
            phone_key: None,
        };
        shop.store.write(move |tx| replica::apply_page(tx, &page)).await.unwrap();
    }

    #[tokio::test]
    async fn an_item_is_found_by_sku_and_by_barcode_as_it_was_published_last() {
        let shop = Shop::opened().await;
        publish(&shop, 3, vec![item("A/1", &["6901", "6902"]), item("B", &["6903"])]).await;
        for code in ["A%2F1", "6901", "6902"] {
            let look = shop.get(T1, &format!("/v1/items/{code}")).await.json;
            assert_eq!((&look["item"]["sku"], &look["as_of"]["items"]), (&"A/1".into(), &3.into()), "{code}");
        }
        // 6902 moves to B; B's row comes first.
        publish(&shop, 5, vec![item("B", &["6903", "6902"]), item("A/1", &["6901"])]).await;
        let shop = shop.restart();
        assert_eq!(shop.get(T1, "/v1/items/6902").await.json["item"]["sku"], "B");
        publish(&shop, 6, vec![item("A/1", &[])]).await;
        shop.get(T1, "/v1/items/6901").await.problem(404, "item_unknown");
        assert_eq!(shop.store.committed().replica.items, 6, "the version that entries name");
    }

    #[tokio::test]
    async fn a_sku_goes_before_a_barcode_that_looks_like_it() {
        let shop = Shop::opened().await;
        publish(&shop, 1, vec![item("A", &["B"]), item("B", &[])]).await;
        assert_eq!(shop.get(T1, "/v1/items/B").await.json["item"]["sku"], "B");
    }
}
