//! What a query does about damage to the logs that it reads: the setting `timecraft.on_damage`, and
//! the memory of what was skipped because of it. A query must never leave anything out in silence.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use datafusion::common::plan_err;
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::Result;
use timecraft_segment::snapshot::Damage;
use timecraft_segment::{ProcessId, Registry};

/// What a query does when it meets damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDamage {
    /// It fails, and says where.
    #[default]
    Fail,
    /// It goes on with everything before and after, and remembers where.
    Skip,
}

impl OnDamage {
    const NAMES: [(&str, OnDamage); 2] = [("fail", OnDamage::Fail), ("skip", OnDamage::Skip)];

    /// What the session is set to.
    pub(crate) fn of(options: &ConfigOptions) -> OnDamage {
        let settings = options.extensions.get::<Settings>();
        settings.map_or_else(OnDamage::default, |settings| settings.on_damage)
    }

    fn name(self) -> &'static str {
        let name = OnDamage::NAMES.iter().find(|(_, value)| *value == self);
        name.map_or("", |(name, _)| name)
    }
}

impl FromStr for OnDamage {
    type Err = datafusion::error::DataFusionError;

    fn from_str(text: &str) -> Result<OnDamage> {
        let found = OnDamage::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        match found {
            Some((_, value)) => Ok(*value),
            None => plan_err!("timecraft.on_damage is 'fail' or 'skip', not '{text}'"),
        }
    }
}

/// The settings of ours: those that SQL knows as `timecraft.NAME`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    on_damage: OnDamage,
}

const ON_DAMAGE: &str = "on_damage";

impl ExtensionOptions for Settings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            ON_DAMAGE => self.on_damage = value.parse()?,
            _ => return plan_err!("there is no setting timecraft.{key}; there is {ON_DAMAGE}"),
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![ConfigEntry {
            key: format!("{}.{ON_DAMAGE}", Settings::PREFIX),
            value: Some(self.on_damage.name().to_owned()),
            description: "What a query does when it meets damage: 'fail', or 'skip', which goes on \
                          with everything before and after",
        }]
    }
}

impl ConfigExtension for Settings {
    const PREFIX: &'static str = "timecraft";
}

/// Damage that a query met and went past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageMet {
    /// Whose log is damaged; none for a module.
    pub process: Option<ProcessId>,
    /// Where and how.
    pub damage: Damage,
}

/// Why nothing can be read of a log, past damage or not; none where there is no log.
pub(crate) fn unreadable(registry: &Registry, process: ProcessId) -> Option<Damage> {
    let error = registry.snapshot(process).err()?;
    Damage::of(&error)
}

/// What the queries of a session went past.
#[derive(Debug, Default)]
pub(crate) struct Met {
    places: Mutex<BTreeMap<(PathBuf, u64), DamageMet>>,
}

impl Met {
    /// More places than anybody reads; memory is to be bounded.
    const MOST: usize = 1000;

    /// Remembers a place, once.
    pub(crate) fn add(&self, process: Option<ProcessId>, damage: Damage) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < Met::MOST {
            let place = (damage.path.clone(), damage.position);
            places.entry(place).or_insert(DamageMet { process, damage });
        }
    }

    /// All places, by file; they are forgotten.
    pub(crate) fn take(&self) -> Vec<DamageMet> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *places).into_values().collect()
    }
}
