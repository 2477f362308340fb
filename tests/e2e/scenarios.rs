//! Trading days in the words of a shopkeeper: every file of `tests/scenarios` is played in a town of its own.

use std::path::Path;

use huitong_tests::scenario;
use huitong_tests::shopkeeper;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_goes_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are no scenarios in {}", folder.display());
    let mut otherwise = Vec::new();
    for path in paths {
        let steps = scenario::read(&path).unwrap();
        if let Err(error) = shopkeeper::play(&steps).await {
            otherwise.push(format!("{}: {error:#}", path.display()));
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}
