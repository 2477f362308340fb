//! The demo keeps what it promises: a settled day with a cut line and a late journal, in figures.

use huitong_protocol::decline::DeclineCode;
use huitong_tests::demo::{self, Options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_a_settled_day() {
    let mut told = Vec::new();
    let played = demo::play(&Options::default(), &mut told).await.unwrap();
    let figures = played.figures.clone();
    let hint = played.what_to_try();
    played.close().await;

    assert!(told.is_empty(), "without narration nothing but the figures is written");
    assert_eq!(figures.faults(), Vec::<String>::new());
    assert_eq!(figures.nets_sum_minor, 0);
    assert!(figures.nets.values().any(|net| *net != 0), "stores owe each other something: {:?}", figures.nets);
    assert_eq!(figures.runs.iter().map(|run| run.finality.as_str()).collect::<Vec<_>>(), ["provisional", "final"]);
    assert_eq!(figures.runs[0].late, ["S3"]);
    assert!(figures.runs[1].adjustments > 0);
    assert!(figures.adjustments.iter().all(|line| Some(line.business_day) == figures.business_day));
    let offline: Vec<_> = figures.declines.iter().filter(|decline| decline.line_cut).collect();
    assert_eq!(offline.len(), 1);
    assert_eq!((offline[0].store.as_str(), offline[0].code), ("S2", DeclineCode::InsufficientHereOffline));
    let shop = &figures.shop;
    // 17.80 and 399.00 on the shelf: 1.00 off each bag for members and 2.00 off each for everybody, 50.00 off the jumper; the coupon gives less.
    assert_eq!((shop.quote.shelf_minor, shop.quote.told_minor, shop.quote.paid_minor), (41_680, 36_080, 36_080));
    let applied: Vec<_> = shop.quote.applied_minor.iter().map(|(rule, minor)| (rule.as_str(), *minor)).collect();
    assert_eq!(applied, [("FASHION-300-50", 5_000), ("SNACK-2", 400), ("member price", 200)]);
    assert_eq!(
        shop.quote.rejected["WELCOME-100-20"],
        ["beaten FASHION-300-50", "already discounted SNACK-2"],
        "the coupon says why it gave nothing"
    );
    // Gold earns once and a half: 208 on 138.70, 541 on 360.80, 175 on the 116.70 that points did not pay.
    assert_eq!((shop.points.earned, shop.points.burnt), (208 + 541 + 175, 200));
    assert_eq!((shop.payments.parked, shop.payments.paid, shop.payments.failed), (2, 1, 1));
    assert_eq!(shop.invoice.invoiced_minor, 16_080, "what the bank card paid");
    assert_eq!(shop.adoption.while_cut["S2"], "behind");
    assert_eq!(figures.exceptions.raised, ["unknown_item", "unknown_item"], "of S1 and S2");
    assert_eq!(figures.exceptions.resolved_by, ["王敏", "王敏"]);
    assert!(hint.unwrap().contains("idempotency-key"));
}
