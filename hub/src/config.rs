//! Configuration of the hub. What each key means and why one would change it is in `config/samples/hub.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use huitong_config::{ConfigError, Language, Loaded, Millis};
use serde::{Deserialize, Serialize};

/// The prefix of the hub's environment variables.
pub const ENV_PREFIX: &str = "HUITONG_HUB";

/// What the hub is told before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubConfig {
    /// Where stores reach it.
    pub listen: SocketAddr,
    /// Whether it may listen beyond this machine without TLS.
    pub insecure_http: bool,
    /// Where the database lives.
    pub data_dir: PathBuf,
    /// The file with the pair that signs policies; within `data_dir` unless it begins with a slash.
    pub policy_key: PathBuf,
    /// The file that remembers, beside the database, what a restored backup would have forgotten; within `data_dir` unless it begins with a slash.
    pub recovery_log: PathBuf,
    /// The language of sentences for people where a caller asks for none.
    pub language: Language,
    /// How many readers the database has at once.
    pub readers: usize,
    /// How long a grant waits for other stores to release.
    pub recall_wait: Millis,
    /// How long after its last poll a store counts as connected.
    pub connected_grace: Millis,
    /// How often reports are compared with journals.
    pub reconcile_every: Millis,
    /// How often the sales that came in are priced again.
    pub rerate_every: Millis,
    /// The hour, on the clock of `time_zone`, at which it is planned where value is parked: after the last store has closed and uploaded, before the
    /// first one downloads.
    pub park_hour: u8,
    /// The hour, on the clock of `time_zone`, of the nightly clean-up.
    pub purge_hour: u8,
    /// The zone in which `park_hour` and `purge_hour` are meant.
    pub time_zone: String,
    /// What is logged: a filter as `tracing` has it.
    pub log: String,
    /// Whether the log is JSON, a line each.
    pub log_json: bool,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7300)),
            insecure_http: false,
            data_dir: PathBuf::from("huitong-hub"),
            policy_key: PathBuf::from("policy.key"),
            recovery_log: PathBuf::from("recovery.log"),
            language: Language::English,
            readers: 4,
            recall_wait: Millis::seconds(2),
            connected_grace: Millis::seconds(5),
            reconcile_every: Millis::minutes(10),
            rerate_every: Millis::minutes(1),
            park_hour: 2,
            purge_hour: 4,
            time_zone: "Asia/Shanghai".to_owned(),
            log: "info".to_owned(),
            log_json: false,
        }
    }
}

impl HubConfig {
    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("hub.db")
    }

    /// The file with the pair that signs policies.
    #[must_use]
    pub fn policy_key_file(&self) -> PathBuf {
        self.data_dir.join(&self.policy_key)
    }

    /// The file that remembers what a restored backup would have forgotten.
    #[must_use]
    pub fn recovery_log_file(&self) -> PathBuf {
        self.data_dir.join(&self.recovery_log)
    }

    /// The first key that breaks a rule of the hub, with the reason and a way out.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, String, String)> {
        if !self.listen.ip().is_loopback() && !self.insecure_http {
            return Some((
                "listen",
                format!("{} can be reached from other machines, and there is no TLS", self.listen),
                "listen on 127.0.0.1 behind a TLS proxy, or say insecure_http = true when the network is trusted"
                    .to_owned(),
            ));
        }
        if self.readers == 0 || self.readers > 256 {
            let reason = format!("is {}; a hub has 1 to 256 readers", self.readers);
            return Some(("readers", reason, "4 is right for most".to_owned()));
        }
        if self.recall_wait > Millis::seconds(20) {
            let reason = "is longer than a till would wait".to_owned();
            return Some(("recall_wait", reason, "say at most \"20s\"; \"2s\" is right for most".to_owned()));
        }
        if self.reconcile_every < Millis::seconds(10) {
            return Some(("reconcile_every", "is below 10 seconds".to_owned(), "\"10m\" is right for most".to_owned()));
        }
        if self.rerate_every < Millis::seconds(5) {
            return Some(("rerate_every", "is below 5 seconds".to_owned(), "\"1m\" is right for most".to_owned()));
        }
        for (key, hour, usual) in [("park_hour", self.park_hour, "2"), ("purge_hour", self.purge_hour, "4")] {
            if hour > 23 {
                return Some((key, format!("is {hour}; hours are 0 to 23"), usual.to_owned()));
            }
        }
        if let Err(fault) = jiff::tz::TimeZone::get(&self.time_zone) {
            return Some(("time_zone", fault.to_string(), "give an IANA name like Asia/Shanghai".to_owned()));
        }
        None
    }

    /// Refuses a loaded configuration that breaks a rule of the hub.
    ///
    /// # Errors
    /// The rule, at the place where the value was set.
    pub fn check(loaded: &Loaded<Self>) -> Result<(), ConfigError> {
        match loaded.value.fault() {
            Some((key, reason, suggestion)) => Err(loaded.refuse(key, reason, Some(suggestion))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use huitong_config::Loader;

    use super::*;

    #[test]
    fn the_sample_says_every_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples/hub.toml");
        let none: [(&str, &str); 0] = [];
        let loaded = Loader::new(ENV_PREFIX).environment(none).file(path).load::<HubConfig>().unwrap();
        assert_eq!(loaded.value, HubConfig::default());
        let text = std::fs::read_to_string(path).unwrap();
        for setting in &loaded.settings {
            assert!(
                text.lines().any(|line| line.starts_with(&format!("{} =", setting.key))),
                "{} is not in the sample",
                setting.key
            );
        }
    }

    #[test]
    fn an_address_for_others_needs_a_word() {
        let load = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            HubConfig::check(&Loader::new(ENV_PREFIX).environment(pairs).load::<HubConfig>().unwrap())
        };
        assert!(load(&[("HUITONG_HUB_LISTEN", "127.0.0.1:0")]).is_ok());
        let refusal = load(&[("HUITONG_HUB_LISTEN", "0.0.0.0:7300")]).unwrap_err().to_string();
        assert!(refusal.contains("insecure_http") && refusal.contains("HUITONG_HUB_LISTEN"), "{refusal}");
        assert!(load(&[("HUITONG_HUB_LISTEN", "0.0.0.0:7300"), ("HUITONG_HUB_INSECURE_HTTP", "true")]).is_ok());
    }
}
