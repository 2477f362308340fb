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
    assert!(hint.unwrap().contains("idempotency-key"));
}
