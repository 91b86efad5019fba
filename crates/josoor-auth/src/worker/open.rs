//! Opening and closing a service.

use crate::app::App;
use crate::audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::keys::{self, Keys};
use crate::passwords::Policy;
use crate::store::Db;
use crate::telemetry::codes;

impl App {
    /// Opens the stores, migrates the database and loads the keys. No background task runs yet; see [`start`](super::start).
    ///
    /// # Errors
    /// `StoreUnavailable`; `Internal` for settings, keys or a database that do not fit.
    pub async fn open(config: Config, clock: Clock) -> Result<Self> {
        let passwords = Policy::open(&config).map_err(Error::Internal)?;
        let db = Db::open(&config.database).await?;
        let clock = db.clock(clock).await?;
        db.migrate(&config.database.schema).await?;
        let unlocked = keys::unlock(&config, &db).await?;
        db.sign_audit_with(unlocked.audit_key());
        let format = audit::begin(&db, &unlocked, clock.now()).await?;
        let keys = Keys::load(&config, &db, &unlocked, format, clock.now()).await?;
        let mut required_factors = Vec::new();
        for role in &config.mfa.required {
            let since = db.write().await?.note_required_factor(*role, clock.now()).await?;
            required_factors.push((*role, since));
        }
        Self::new(config, clock, passwords, db, keys, required_factors)
    }

    /// Stops the background tasks, writes what is left to write and closes the database.
    pub async fn close(&self) {
        self.stop().await;
        if let Err(error) = self.cache.flush_touches().await {
            tracing::warn!(
                code = codes::SESSION_USE_NOT_WRITTEN,
                error = &error as &(dyn std::error::Error + 'static),
                "the last notes of use were not written"
            );
        }
        audit::end_sealing(self).await;
        if let Some(traces) = &self.traces {
            traces.stop().await;
        }
        self.db.close().await;
    }
}
