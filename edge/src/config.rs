//! What an operator may set of the edge: one struct per concern, the defaults, and what is refused.
//!
//! Reading the layers is `huitong_config`'s. What head office decides is policy, not configuration; nothing here changes what an operation
//! does. `config/samples/edge.toml` holds every key with its default and is compared with [`EdgeConfig::default`] by a test.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use huitong_config::{ConfigError, Language, Loaded, Loader, Millis};
use huitong_protocol::wire::SEGMENT_ENTRIES_MAX;
use jiff::civil::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Environment variables that set keys begin with this and `_`.
pub const ENV_PREFIX: &str = "HUITONG_EDGE";
/// Where the configuration is looked for when `--config` names none.
pub const DEFAULT_FILE: &str = "/etc/huitong/edge.toml";

/// Everything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeConfig {
    /// Database, key and local token.
    pub data_dir: PathBuf,
    /// Allows addresses beyond this machine without TLS.
    pub insecure_http: bool,
    /// The tills' side.
    pub api: ApiConfig,
    /// The database.
    pub store: StoreConfig,
    /// The hub's side.
    pub sync: SyncConfig,
    /// What runs unattended.
    pub schedule: ScheduleConfig,
    /// What is logged.
    pub log: LogConfig,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/huitong-edge"),
            insecure_http: false,
            api: ApiConfig::default(),
            store: StoreConfig::default(),
            sync: SyncConfig::default(),
            schedule: ScheduleConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// The tills' side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where tills connect. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The language of sentences for people where a till asks for none.
    pub language: Language,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7171), language: Language::English }
    }
}

/// The database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Connections that read at the same time.
    pub readers: usize,
    /// Page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// Where the marker of the journal's end is kept.
    pub marker_dir: MarkerDir,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { readers: 2, cache_kib: 16_384, marker_dir: MarkerDir::Auto }
    }
}

/// Where the marker of the journal's end is kept: `auto`, `off` or a folder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum MarkerDir {
    /// In the machine's memory, where it mounts one for programs.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// In this folder.
    At(PathBuf),
}

impl Serialize for MarkerDir {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_str("off"),
            Self::At(folder) => folder.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MarkerDir {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            folder if Path::new(folder).is_absolute() => Ok(Self::At(PathBuf::from(folder))),
            _ => Err(serde::de::Error::custom(format!(
                "\"{text}\" is not a place for the marker; write \"auto\", \"off\" or the full path of a folder"
            ))),
        }
    }
}

/// The hub's side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncConfig {
    /// The hub.
    pub hub_url: String,
    /// How long a till waits for the hub when value is not here.
    pub grant_timeout: Millis,
    /// How long any other call may take.
    pub call_timeout: Millis,
    /// How long the hub may hold a poll.
    pub poll_wait: Millis,
    /// The least time between two reports: what is committed meanwhile is told together. 0 tells each at once.
    pub report_debounce: Millis,
    /// After a failure: how long tills are answered without asking the hub, and the first wait before the poll is tried again.
    pub retry_min: Millis,
    /// The longest wait between two tries.
    pub retry_max: Millis,
    /// Entries are sent this long after they were written; 0 sends at the close and by schedule only.
    pub trickle: Millis,
    /// Entries of one segment.
    pub upload_entries_max: usize,
    /// Segments on the way at the same time.
    pub upload_window: usize,
    /// Rows of one page of a dataset.
    pub download_rows_max: u32,
    /// Policies that the hub has not confirmed for longer are called stale. They stay in force.
    pub policy_stale_after: Millis,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            hub_url: "http://127.0.0.1:7300".to_owned(),
            grant_timeout: Millis::seconds(3),
            call_timeout: Millis::seconds(30),
            poll_wait: Millis::seconds(25),
            report_debounce: Millis::ms(200),
            retry_min: Millis::seconds(1),
            retry_max: Millis::minutes(1),
            trickle: Millis::seconds(2),
            upload_entries_max: SEGMENT_ENTRIES_MAX,
            upload_window: 3,
            download_rows_max: 2_000,
            policy_stale_after: Millis::minutes(36 * 60),
        }
    }
}

/// What runs unattended: each job `off`, at times of the store's day (`05:30` or `05:30, 13:00`) or `every 15m`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Fetches what head office published.
    pub download: When,
    /// Sends what was not sent.
    pub upload: When,
    /// Reports, also when nothing moved.
    pub report: When,
    /// Closes the open day.
    pub day_close: When,
    /// Forgets stored answers older than they must be kept.
    pub purge: When,
    /// Ends holds whose time is over, of accounts that nobody asks for.
    pub expire_holds: When,
    /// Jobs that call the hub run up to this much later, each store by its own share, so that a chain does not arrive in one second.
    pub spread: Millis,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            download: When::at(5, 30),
            upload: When::Every(Millis::minutes(15)),
            report: When::Every(Millis::minutes(5)),
            day_close: When::Off,
            purge: When::at(3, 40),
            expire_holds: When::Every(Millis::minutes(5)),
            spread: Millis::minutes(5),
        }
    }
}

/// When a job runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// Only by hand.
    Off,
    /// At these times of the store's day, sorted.
    Daily(Vec<Time>),
    /// Again and again.
    Every(Millis),
}

/// The shortest period: the heartbeat comes every five seconds.
const EVERY_MS_MIN: i64 = 5_000;

impl When {
    fn at(hour: i8, minute: i8) -> Self {
        Self::Daily(vec![Time::constant(hour, minute, 0, 0)])
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Every(period) => write!(f, "every {period}"),
            Self::Daily(times) => {
                for (index, time) in times.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{:02}:{:02}", time.hour(), time.minute())?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write \"off\", times of the day such as \"05:30\" or \"05:30, 13:00\", or \"every 15m\"";
        if text.trim() == "off" {
            return Ok(Self::Off);
        }
        if let Some(period) = text.trim().strip_prefix("every ") {
            let period: Millis = period.trim().parse().map_err(|error| format!("{error}; {FORM}"))?;
            if period.as_ms() < EVERY_MS_MIN {
                return Err(format!("\"{text}\" is shorter than the 5s between two looks at the schedule"));
            }
            return Ok(Self::Every(period));
        }
        let time = |text: &str| {
            let (hour, minute) =
                text.trim().split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let times: Option<Vec<Time>> = text.split(',').map(time).collect();
        let mut times = times.ok_or_else(|| format!("\"{text}\" is not a schedule; {FORM}"))?;
        times.sort_unstable();
        times.dedup();
        Ok(Self::Daily(times))
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is logged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
    /// Which messages, as `target=level` with commas between.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        // The scheduler and the migrations report each of their own steps at INFO.
        let filter = "info,tokio_cron_scheduler=warn,refinery_core=warn".to_owned();
        Self { format: LogFormat::Text, filter }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl EdgeConfig {
    /// A configuration for tests and for many edges in one process: any free port, small caches, no wait where it can be helped.
    #[must_use]
    pub fn for_test(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            api: ApiConfig { listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), ..ApiConfig::default() },
            store: StoreConfig { readers: 1, cache_kib: 256, ..StoreConfig::default() },
            sync: SyncConfig {
                report_debounce: Millis::ZERO,
                retry_min: Millis::ms(20),
                retry_max: Millis::ms(200),
                trickle: Millis::ZERO,
                ..SyncConfig::default()
            },
            schedule: ScheduleConfig { spread: Millis::ZERO, ..ScheduleConfig::default() },
            ..Self::default()
        }
    }

    /// The loader of the edge: its environment variables, and `file` or the usual place.
    #[must_use]
    pub fn loader(file: Option<&Path>) -> Loader {
        let loader = Loader::new(ENV_PREFIX)
            .env_reserved(&format!("{ENV_PREFIX}_CONFIG"))
            .env_reserved(&format!("{ENV_PREFIX}_DATA"));
        match file {
            Some(file) => loader.file(file),
            None => loader.default_file(DEFAULT_FILE),
        }
    }
}

/// Refuses what a value's type cannot: addresses beyond this machine without TLS, a hub that cannot be called, limits of nothing.
///
/// # Errors
/// Every fault at once, each with the place that set it.
pub fn check(loaded: &Loaded<EdgeConfig>) -> Result<(), ConfigError> {
    let config = &loaded.value;
    let mut faults = Vec::new();
    let mut refuse = |key: &str, reason: String, suggestion: Option<&str>| {
        faults.extend_from_slice(loaded.refuse(key, reason, suggestion.map(str::to_owned)).faults());
    };
    const WITHOUT_TLS: &str = "put a tunnel in front of it, or set insecure_http = true on a network that you trust";
    let listen = config.api.listen;
    if !listen.ip().is_loopback() && !config.insecure_http {
        refuse(
            "api.listen",
            format!("{listen} can be reached from other machines, and this build speaks HTTP without TLS"),
            Some(WITHOUT_TLS),
        );
    }
    match reqwest::Url::parse(&config.sync.hub_url) {
        Err(error) => refuse(
            "sync.hub_url",
            format!("\"{}\" is not a URL: {error}", config.sync.hub_url),
            Some("write it like http://127.0.0.1:7300"),
        ),
        Ok(url) if url.scheme() == "https" => refuse(
            "sync.hub_url",
            "this build has no TLS and cannot call an https address".to_owned(),
            Some("use the http address of a tunnel that ends on this machine"),
        ),
        Ok(url) if url.scheme() != "http" || url.host_str().is_none() => refuse(
            "sync.hub_url",
            format!("\"{url}\" is not the address of a hub"),
            Some("write it like http://127.0.0.1:7300"),
        ),
        Ok(url) if !is_this_machine(&url) && !config.insecure_http => refuse(
            "sync.hub_url",
            format!("{url} is on another machine, and this build speaks HTTP without TLS"),
            Some(WITHOUT_TLS),
        ),
        Ok(_) => {}
    }
    if config.store.readers == 0 {
        refuse("store.readers", "nothing could be looked up with 0 readers".to_owned(), Some("1 or more"));
    }
    if !(1..=SEGMENT_ENTRIES_MAX).contains(&config.sync.upload_entries_max) {
        let reason = format!("{} is not from 1 to {SEGMENT_ENTRIES_MAX}", config.sync.upload_entries_max);
        refuse("sync.upload_entries_max", reason, None);
    }
    if !(1..=16).contains(&config.sync.upload_window) {
        refuse("sync.upload_window", format!("{} is not from 1 to 16", config.sync.upload_window), None);
    }
    if !(1..=huitong_protocol::wire::DATASET_ROWS_MAX).contains(&config.sync.download_rows_max) {
        let reason =
            format!("{} is not from 1 to {}", config.sync.download_rows_max, huitong_protocol::wire::DATASET_ROWS_MAX);
        refuse("sync.download_rows_max", reason, None);
    }
    for (key, span) in [
        ("sync.grant_timeout", config.sync.grant_timeout),
        ("sync.call_timeout", config.sync.call_timeout),
        ("sync.poll_wait", config.sync.poll_wait),
        ("sync.retry_min", config.sync.retry_min),
        ("sync.policy_stale_after", config.sync.policy_stale_after),
    ] {
        if span == Millis::ZERO {
            refuse(key, "must be more than no time at all".to_owned(), None);
        }
    }
    if config.sync.retry_max < config.sync.retry_min {
        refuse("sync.retry_max", "is less than sync.retry_min".to_owned(), None);
    }
    if faults.is_empty() { Ok(()) } else { Err(ConfigError::new(faults)) }
}

/// Whether a URL's host is this machine by name or address; no name is looked up.
fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str) -> Result<Loaded<EdgeConfig>, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.toml");
        std::fs::write(&path, file).unwrap();
        let none: [(&str, &str); 0] = [];
        let loaded = EdgeConfig::loader(Some(&path)).environment(none).load::<EdgeConfig>()?;
        check(&loaded)?;
        Ok(loaded)
    }

    fn fault(file: &str) -> String {
        load(file).unwrap_err().to_string()
    }

    #[test]
    fn the_sample_says_what_the_defaults_are() {
        let sample = include_str!("../../config/samples/edge.toml");
        assert_eq!(load(sample).unwrap().value, EdgeConfig::default());
        let keys = load(sample).unwrap().settings;
        for setting in keys {
            assert_ne!(setting.origin, huitong_config::Origin::Default, "{} is missing in the sample", setting.key);
        }
    }

    #[test]
    fn nothing_beyond_this_machine_without_tls_unless_it_is_said() {
        let said = fault("[api]\nlisten = \"0.0.0.0:7171\"\n");
        assert!(said.contains("edge.toml:2:") && said.contains("`api.listen`"), "{said}");
        assert!(said.contains("insecure_http"), "{said}");
        let said = fault("[sync]\nhub_url = \"http://10.1.2.3:7070\"\n");
        assert!(said.contains("`sync.hub_url`"), "{said}");
        load("insecure_http = true\n[api]\nlisten = \"0.0.0.0:7171\"\n[sync]\nhub_url = \"http://hub.example:7070\"\n")
            .unwrap();
        for here in ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"] {
            load(&format!("[sync]\nhub_url = \"{here}\"\n")).unwrap();
        }
    }

    #[test]
    fn a_hub_that_cannot_be_called_is_refused() {
        for (url, says) in [
            ("https://127.0.0.1:7070", "no TLS"),
            ("127.0.0.1:7070", "not a URL"),
            ("ftp://127.0.0.1", "not the address of a hub"),
        ] {
            let said = fault(&format!("[sync]\nhub_url = \"{url}\"\n"));
            assert!(said.contains("`sync.hub_url`") && said.contains(says), "{said}");
        }
    }

    #[test]
    fn every_limit_of_nothing_is_named_at_once() {
        let said =
            fault("[store]\nreaders = 0\n[sync]\nupload_window = 0\nupload_entries_max = 501\nretry_min = \"0s\"\n");
        for key in ["store.readers", "sync.upload_window", "sync.upload_entries_max", "sync.retry_min"] {
            assert!(said.contains(key), "{key} in {said}");
        }
    }

    #[test]
    fn a_schedule_reads_back_and_a_wrong_one_says_how_to_write_it() {
        for text in ["off", "05:30", "05:30, 13:00", "every 15m"] {
            assert_eq!(text.parse::<When>().unwrap().to_string(), text);
        }
        for text in ["", "5:30", "25:00", "every", "every 1s", "daily", "05:30;13:00"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
        let said = fault("[schedule]\ndownload = \"5.30\"\n");
        assert!(said.contains("schedule.download") && said.contains("every 15m"), "{said}");
    }
}
