//! The master of members: import, find, show, and what may be seen of it.

use serde_json::{Value, json};

use super::Office;

const MEMBERS: &str = "number,name,tier,tier_valid_from,tier_valid_to,birthday,segments,phone,active\n\
     8800017,张三,金卡,2026-01-01,2026-12-31,1990-05-17,新客;VIP,138 0013 5678,\n\
     8800018,单雄信,银卡,,,02-29,,+86 139-0013-0001,\n\
     8800019,买买提·艾力,,,,,,0512-65221234,\n\
     8800020,王㛃𠮷,,,,,,+852 9123 4567,否\n";

fn numbers(found: &Value) -> Vec<&str> {
    found["members"].as_array().unwrap().iter().map(|member| member["number"].as_str().unwrap()).collect()
}

#[test]
fn a_member_is_imported_and_changed_column_by_column() {
    let office = Office::opened();
    assert_eq!(office.import("member", MEMBERS), (4, 0, 0));
    assert_eq!(office.import("member", MEMBERS), (0, 0, 4));
    let member = office.ok(&["member", "show", "8800017"]);
    assert_eq!(
        (&member["name"], &member["phone"], &member["birthday"], &member["tier_valid_to"], &member["segments"]),
        (&json!("张三"), &json!("138****5678"), &json!("05-17"), &json!("2026-12-31"), &json!(["VIP", "新客"]))
    );
    assert!(member["qr"].as_str().unwrap().starts_with("HT1.8800017"));
    assert_eq!(office.ok(&["member", "show", "8800020"])["name"], "王㛃𠮷", "rare characters stay");
    assert_eq!(office.ok(&["member", "show", "8800020"])["active"], false);
    // What is not in the file stays; what is there and empty goes. The phone moves to another member, whose line comes first.
    let file = "number,name,phone,birthday\n8800018,单雄信,13800135678,\n8800017,张三丰,,05-17\n";
    assert_eq!(office.import("member", file), (0, 2, 0));
    let member = office.ok(&["member", "show", "8800017"]);
    assert_eq!((&member["name"], &member["tier"], &member["phone"]), (&json!("张三丰"), &json!("金卡"), &json!("")));
    assert_eq!(office.ok(&["member", "show", "8800018"])["phone"], "138****5678");
    assert!(office.refused(&["member", "show", "8800099"]).contains("no member has the number 8800099"));
}

#[test]
fn a_tier_that_no_policy_has_is_a_bad_line_once_there_is_a_policy() {
    let office = Office::opened();
    assert_eq!(office.import("member", MEMBERS), (4, 0, 0), "before the first policy there is nothing to compare with");
    let policy = "name = 'P'\ncurrency = 'CNY'\n[[tenders]]\ncode = 'cash'\nclass = 'external'\n\
         [[tiers]]\ncode = '金卡'\nname = '金卡'\nrank = 1\n";
    let file = office.file(policy.as_bytes());
    office.ok(&["policy", "publish", &file, "--effective-from", "2026-01-01"]);
    let file = "number,name,tier\n8800017,张三,金卡\n8800018,单雄信,银卡\n8800019,买买提·艾力,\n";
    office.import_refused("member", file, &["line 3: tier: 银卡 is in no policy that is published"]);
    // Whoever has it already keeps it: a file without the column says nothing of it.
    assert_eq!(office.import("member", "number,name\n8800018,单雄\n"), (0, 1, 0));
    assert_eq!(office.ok(&["member", "show", "8800018"])["tier"], "银卡");
}

#[test]
fn every_bad_and_double_line_of_a_member_file_is_named_and_no_phone_is_repeated() {
    let office = Office::opened();
    office.import("member", MEMBERS);
    let bad = "number,name,tier_valid_from,tier_valid_to,birthday,phone\n\
         M 1,甲,,,,\n\
         M2,\u{fffd}乙,2026-13-01,,,\n\
         M3,丙,,,31-12,1380013567\n\
         M4,丁,,,,13911112222\n\
         M5,戊,,,,139-1111-2222\n\
         M5,己,,,,\n";
    office.import_refused(
        "member",
        bad,
        &[
            "line 2: number: \"M 1\" has ' ' at position 2",
            "line 3: name: has a character that was lost in a conversion",
            "line 3: tier_valid_from: \"2026-13-01\" is not a business day",
            "line 4: birthday: is not a birthday like 05-17",
            "line 4: phone: begins like a mobile number of China and is none",
            "line 6: phone: 139****2222 stands in line 5 and again in line 6",
            "line 7: number: M5 stands in line 6 and again in line 7",
        ],
    );
    let (_, out, err) = office.say(&["member", "import", &office.file(bad.as_bytes())]);
    for phone in ["1380013567", "13911112222", "139-1111-2222"] {
        assert!(!out.contains(phone) && !err.contains(phone), "{phone} is repeated:\n{err}");
    }
    // Against what is there: a phone that another active member has, and a tier that ends before it begins with the day of before.
    office.import_refused(
        "member",
        "number,name,phone,tier_valid_to\nM1,甲,138-0013-5678,\n8800017,张三,,2025-01-01\n",
        &["line 3: tier_valid_to: 2025-01-01 is before 2026-01-01"],
    );
    office.import_refused(
        "member",
        "number,name,phone\nM1,甲,13800135678\n",
        &["line 2: phone: 138****5678 is the phone of member 8800017 too"],
    );
    // The phone of a membership that is over is free.
    assert_eq!(office.import("member", "number,name,phone\nM1,甲,+85291234567\n"), (1, 0, 0));
    assert_eq!(office.ok(&["stats"])["rows"]["member"], 5, "nothing else was imported");
}

#[test]
fn head_office_finds_by_number_name_pinyin_initials_and_last_four_digits() {
    let office = Office::opened();
    office.import("member", MEMBERS);
    let check = |question: &str, found: &[&str]| {
        assert_eq!(numbers(&office.ok(&["member", "find", question])), found, "{question}");
    };
    check("张三", &["8800017"]);
    check("zs", &["8800017"]);
    check("ZHANG SAN", &["8800017"]);
    check("ｚｈａｎｇｓ", &["8800017"]);
    check("sxx", &["8800018"]);
    check("shanxiong", &["8800018"]);
    check("danx", &["8800018"]);
    check("买买提艾力", &["8800019"]);
    check("mmt", &["8800019"]);
    check("王㛃", &["8800020"]);
    check("5678", &["8800017"]);
    check("１３８ 0013 5678", &["8800017"]);
    check("88000", &["8800017", "8800018", "8800019", "8800020"]);
    check("ls", &[]);
    check("·", &[]);
    let found = office.ok(&["member", "find", "zs"]);
    assert_eq!(
        (&found["members"][0]["name"], &found["members"][0]["phone"], &found["more"]),
        (&json!("张*"), &json!("138****5678"), &json!(false))
    );
    let (_, text, _) = office.say(&["member", "find", "zs"]);
    assert!(text.contains("张*") && !text.contains("张三") && !text.contains("13800135678"), "{text}");
    // A name that changed is found by what it is now.
    office.import("member", "number,name\n8800017,李四\n");
    check("zs", &[]);
    check("ls", &["8800017"]);
}

#[test]
fn a_search_is_bounded_and_says_so() {
    let office = Office::opened();
    let lines: String = (0..30).map(|n| format!("88{n:05},曾{n}\n")).collect();
    office.import("member", &format!("number,name\n{lines}"));
    let found = office.ok(&["member", "find", "z"]);
    assert_eq!((numbers(&found).len(), &found["more"]), (20, &json!(true)));
    assert!(office.refused(&["member", "find", &"z".repeat(101)]).contains("at most 100"));
}

#[test]
fn members_come_from_gb18030_with_their_rare_characters() {
    let office = Office::opened();
    let (bytes, _, lossy) = encoding_rs::GB18030.encode(MEMBERS);
    assert!(!lossy);
    let file = office.file(&bytes);
    assert!(office.refused(&["member", "import", &file]).contains("try --encoding gb18030"));
    assert_eq!(office.ok(&["member", "import", &file, "--encoding", "gb18030"])["new"], 4);
    assert_eq!(office.ok(&["member", "show", "8800020"])["name"], "王㛃𠮷");
}
