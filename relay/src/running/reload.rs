//! Another configuration while the relay runs.

use super::{Running, quotas, sizes};
use crate::config::{Config, ConfigError};
use crate::settings::Settings;

impl Running {
    /// Takes the limits, quotas and times of `config` from now on; connections stay as they are. Returns the keys that
    /// differ from what the relay was started with and take effect only when it is started again.
    ///
    /// # Errors
    /// The configuration makes no sense; then nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<Vec<String>, ConfigError> {
        config.check()?;
        let relay = &self.relay;
        relay.rates.set(&config.limits);
        relay.mailboxes.set_max(config.limits.max_mailboxes);
        relay.set_settings(Settings::from(config));
        self.quotas.send_replace(quotas(config));
        relay.chunks.resize(sizes(config));
        Ok(self.started_with.needs_restart(config))
    }
}
