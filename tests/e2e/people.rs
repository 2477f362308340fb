//! Items and members: imported at head office, downloaded, found at the till, also while the line is cut.

use std::sync::Arc;

use axum::http::Method;
use huitong_protocol::item::ItemLook;
use huitong_protocol::member::{MemberLook, MemberNumber, MembersFound};
use huitong_protocol::money::Currency;
use huitong_protocol::time::Instant;
use huitong_tests::documents;
use huitong_tests::replay::cards;
use huitong_tests::town::{Plan, Shop, Town, Transport};
use huitong_tests::wire::Wire;
use serde::de::DeserializeOwned;

const MEMBERS: &str = "number,name,tier,tier_valid_to,birthday,phone\n\
     8800001,张三,金卡,2026-11-22,1990-11-30,138 0013 5678\n\
     8800002,买买提·艾力,,,,\n";
const ITEMS: &str = "sku,name,barcodes,category_path,tax_rate,list_price,member_price,no_points\n\
     BEER,青岛啤酒,6901;6902,食品/饮料,13%,6.00,5.50,1\n";

pub(crate) async fn town(folder: &std::path::Path) -> Arc<Town> {
    let stores = vec!["S1".parse().unwrap(), "S2".parse().unwrap()];
    let plan = Plan {
        data: folder.to_owned(),
        transport: Transport::Memory,
        start: Instant(1_795_320_000_000),
        currency: Currency::CNY,
        time_zone: "Asia/Shanghai".to_owned(),
        cards: vec![(cards::of_household(1), stores[0])],
        stores,
        product: "SV".to_owned(),
        policy: documents::policy("CNY", "") + "[[tiers]]\ncode = '金卡'\nname = '金卡'\nrank = 1\n",
        agreement: documents::agreement("CNY", "pool", "2020-01-01", 0, 0, "restore"),
        effective_from: "2020-01-01".parse().unwrap(),
        tune: Arc::new(|_| ()),
        wire: Arc::new(|_, line| Wire::new(line)),
    };
    Town::build(&plan).await.unwrap()
}

pub(crate) async fn import(town: &Town, folder: &std::path::Path, noun: &str, csv: &str) {
    let file = folder.join(format!("{noun}.csv"));
    std::fs::write(&file, csv).unwrap();
    town.head_office(&[noun, "import", file.to_str().unwrap()]).await.unwrap();
}

pub(crate) async fn get<T: DeserializeOwned>(shop: &Shop, path: &str) -> T {
    shop.till.send(Method::GET, path, None, Vec::new()).await.unwrap().json().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_head_office_imports_is_found_at_every_till_without_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let town = town(folder.path()).await;
    import(&town, folder.path(), "item", ITEMS).await;
    import(&town, folder.path(), "member", MEMBERS).await;
    let card = cards::of_household(1);
    let owner = format!("number,product,member\n{},SV,8800001\n", card.reveal());
    import(&town, folder.path(), "card", &owner).await;
    for shop in town.shops() {
        shop.download().await.unwrap();
        shop.wire.cut(true);
    }
    let qr = MemberNumber::new("8800001").unwrap().qr_text();
    for shop in town.shops() {
        let beer: ItemLook = get(shop, "/v1/items/6902").await;
        assert_eq!(
            (beer.item.sku.as_str(), beer.item.list_price_minor, beer.item.tax_ppm),
            ("BEER", Some(600), 130_000)
        );
        assert_eq!((beer.item.member_price_minor, beer.item.flags.no_points), (Some(550), true));
        let by_card = format!("card={}", card.reveal());
        for query in [by_card.as_str(), &format!("qr={qr}"), "phone=%2B86-138-0013-5678", "number=8800001"] {
            let look: MemberLook = get(shop, &format!("/v1/members?{query}")).await;
            assert_eq!(
                (look.name.as_str(), look.phone.as_str(), look.tier.as_ref().map(|tier| tier.as_str())),
                ("张*", "138****5678", Some("金卡")),
                "{query}"
            );
            assert!(look.birthday_month && look.as_of.members == 2, "{query}: {look:?}");
            assert_eq!(
                look.cards.iter().map(|card| card.number.as_str()).collect::<Vec<_>>(),
                [card.to_string()],
                "{query}"
            );
        }
        for (question, number) in [("zs", "8800001"), ("mmtal", "8800002"), ("5678", "8800001")] {
            let found: MembersFound = get(shop, &format!("/v1/members/search?q={question}")).await;
            assert_eq!(found.members.iter().map(|m| m.number.as_str()).collect::<Vec<_>>(), [number], "{question}");
        }
    }
    // What changes at head office arrives with the next download, and nothing else does.
    import(&town, folder.path(), "member", "number,name,phone\n8800001,张三,13900000001\n").await;
    import(&town, folder.path(), "item", "sku,name,barcodes\nBEER,青岛啤酒,6901\n").await;
    let shop = town.shop("S2".parse().unwrap()).unwrap();
    shop.wire.cut(false);
    shop.download().await.unwrap();
    let look: MemberLook = get(&shop, "/v1/members?phone=13900000001").await;
    assert_eq!(
        (look.number.as_str(), look.tier.as_ref().map(|tier| tier.as_str()), look.as_of.members),
        ("8800001", Some("金卡"), 3)
    );
    for gone in ["/v1/members?phone=13800135678", "/v1/items/6902"] {
        assert_eq!(shop.till.send(Method::GET, gone, None, Vec::new()).await.unwrap().status, 404, "{gone}");
    }
    drop(shop);
    town.close().await.unwrap();
}
