//! The item master.

use serde_json::json;

use super::Office;

const BEER: &str = "sku,name,barcodes,category_path,brand,counter,supplier,legal_entity,tax_code,tax_rate,list_price,member_price,no_points\n\
     BEER,青岛啤酒,6901;6902,食品/饮料,青岛,C1,V1,E1,1030301,13%,6.00,5.50,是\n\
     WINE,张裕解百纳,6903,食品/酒,张裕,,V1,,,13%,128.00,,\n";

#[test]
fn an_item_is_imported_shown_by_every_code_and_changed_column_by_column() {
    let office = Office::opened();
    assert_eq!(office.import("item", BEER), (2, 0, 0));
    assert_eq!(office.import("item", BEER), (0, 0, 2));
    for code in ["BEER", "6901", "6902"] {
        let item = office.ok(&["item", "show", code]);
        assert_eq!(
            (&item["sku"], &item["tax_ppm"], &item["list_price_minor"]),
            (&json!("BEER"), &json!(130_000), &json!(600))
        );
        assert_eq!((&item["flags"]["no_points"], &item["active"]), (&json!(true), &json!(true)));
    }
    // What is not in the file stays; what is there and empty goes. A barcode may move to another item.
    assert_eq!(
        office.import("item", "sku,name,barcodes,member_price\nBEER,青岛啤酒,6901,\nWINE,张裕解百纳,6903;6902,\n"),
        (0, 2, 0)
    );
    let item = office.ok(&["item", "show", "6901"]);
    assert_eq!(
        (&item["brand"], &item["list_price_minor"], &item["member_price_minor"]),
        (&json!("青岛"), &json!(600), &json!(null))
    );
    assert_eq!(office.ok(&["item", "show", "6902"])["sku"], "WINE");
    assert!(office.refused(&["item", "show", "6904"]).contains("no item has the SKU or barcode 6904"));
    assert_eq!(office.ok(&["stats"])["rows"]["item"], 2);
}

#[test]
fn every_bad_and_double_line_of_an_item_file_is_named() {
    let office = Office::opened();
    office.import("item", BEER);
    office.import_refused(
        "item",
        "sku,name,barcodes,category_path,legal_entity,tax_rate,list_price,member_price,active\n\
         A,甲,1;1,,,,,,\n\
         B,乙,2,食品//酒,,13,,,\n\
         B,,2,,,,,,\n\
         C,丙,,,,,1.00,2.00,\n\
         D,丁,,,,,1.001,,maybe\n",
        &[
            "line 2: barcodes: has 1 twice",
            "line 3: category_path: is not a path",
            "line 3: tax_rate: \"13\" is not a rate like 13%",
            "line 4: name: is empty",
            "line 5: member_price: is above the list price",
            "line 6: list_price: \"1.001\" has 3 decimal places",
            "line 6: active: \"maybe\" is neither yes nor no",
        ],
    );
    office.import_refused(
        "item",
        "sku,name,barcodes\nA,甲,7\nA,乙,7\n",
        &[
            "line 3: sku: A stands in line 2 and again in line 3",
            "line 3: barcodes: 7 stands in line 2 and again in line 3",
        ],
    );
    // Against what is there: a code that leads to two items, an owner that does not exist, a member price above the list price of before.
    office.import_refused(
        "item",
        "sku,name,barcodes,legal_entity\nA,甲,6901,\n6903,乙,,\nB,丙,WINE,\nC,丁,,E9\n",
        &[
            "line 2: barcodes: 6901 is a barcode of item BEER too",
            "line 3: sku: 6903 is a barcode of item WINE",
            "line 4: barcodes: WINE is the SKU of another item",
            "line 5: legal_entity: E9 is unknown; import the legal entities first",
        ],
    );
    office.import_refused("item", "sku,name,member_price\nBEER,青岛啤酒,7.00\n", &["line 2: member_price: is above"]);
    assert_eq!(office.ok(&["stats"])["rows"]["item"], 2, "nothing of it was imported");
}

#[test]
fn a_file_from_excel_in_gb18030_is_read_when_it_is_said_and_named_when_not() {
    let office = Office::opened();
    let (bytes, _, lossy) = encoding_rs::GB18030.encode(BEER);
    assert!(!lossy);
    let file = office.file(&bytes);
    let err = office.refused(&["item", "import", &file]);
    assert!(err.contains("line 2: name: is not UTF-8; try --encoding gb18030"), "{err}");
    assert_eq!(office.ok(&["item", "import", &file, "--encoding", "gb18030"])["new"], 2);
    assert_eq!(office.ok(&["item", "show", "6903"])["name"], "张裕解百纳");
    // The header too, and every other noun.
    let (bytes, ..) = encoding_rs::GB18030.encode("legal_entity,name\nE2,汇通有限公司\n");
    let file = office.file(&bytes);
    assert!(office.refused(&["legal-entity", "import", &file]).contains("--encoding gb18030"));
    office.ok(&["legal-entity", "import", &file, "--encoding", "gb18030"]);
    let (bytes, ..) = encoding_rs::GB18030.encode("编码,名称\nX,Y\n");
    assert!(
        office.refused(&["item", "import", &office.file(&bytes)]).contains("it is not UTF-8; try --encoding gb18030")
    );
}
