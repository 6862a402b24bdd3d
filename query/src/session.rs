//! The session: DataFusion, set up over a registry.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use timecraft_segment::registry::Registry;

use crate::damage::{DamageMet, Met, Settings};
use crate::environment::environment_value;
use crate::error::Result;
use crate::pin::Pins;
use crate::scan::provider::LogTable;
use crate::tables::{self, PUBLIC};
use crate::views;

/// The memory that queries may take together where nothing else is said: 1 GiB.
pub const DEFAULT_MEMORY_LIMIT: usize = 1 << 30;

/// How many consumers of memory an error names when there is not enough.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

const CATALOG: &str = "timecraft";

/// How a session is set up.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// What is queried. It need not exist yet: tables are empty then.
    pub registry: Registry,
    /// The memory in bytes that the operators of all queries may take together, before they spill to
    /// temporary files; `None` is no limit.
    pub memory_limit: Option<usize>,
    /// How many threads a query uses; `None` is one a processor.
    pub target_partitions: Option<NonZeroUsize>,
    /// How many rows a batch has. Smaller ones take less memory and more time.
    pub batch_size: NonZeroUsize,
}

impl SessionOptions {
    /// The defaults over a registry.
    #[must_use]
    pub fn new(registry: Registry) -> SessionOptions {
        SessionOptions {
            registry,
            memory_limit: Some(DEFAULT_MEMORY_LIMIT),
            target_partitions: None,
            batch_size: NonZeroUsize::MIN.saturating_add(8191),
        }
    }
}

/// A DataFusion session over a registry.
pub struct Session {
    context: SessionContext,
    met: Arc<Met>,
}

impl Session {
    /// Sets a session up. Does no I/O on the registry.
    ///
    /// # Errors
    /// When the engine refuses its configuration.
    pub fn new(options: SessionOptions) -> Result<Session> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, PUBLIC)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_option_extension(Settings::default())
            .with_batch_size(options.batch_size.get());
        if let Some(partitions) = options.target_partitions {
            config = config.with_target_partitions(partitions.get());
        }
        config.options_mut().execution.time_zone = Some("UTC".to_owned());

        let mut runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::OsTmpDirectory),
        );
        if let Some(limit) = options.memory_limit {
            let pool = TrackConsumersPool::new(FairSpillPool::new(limit), CONSUMERS_NAMED);
            runtime = runtime.with_memory_pool(Arc::new(pool));
        }
        let mut context = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
        timecraft_udfs::sql::register(&mut context)?;
        context.register_udf(environment_value(options.registry.clone()));

        let pins = Arc::new(Pins::new(options.registry));
        let catalog = MemoryCatalogProvider::new();
        for (name, tables) in tables::all() {
            let schema = MemorySchemaProvider::new();
            for table in tables {
                let name = table.name().to_owned();
                schema.register_table(name, Arc::new(LogTable::new(table, Arc::clone(&pins))))?;
            }
            catalog.register_schema(name, Arc::new(schema))?;
        }
        let catalog: Arc<dyn CatalogProvider> = Arc::new(catalog);
        context.register_catalog(CATALOG, Arc::clone(&catalog));
        views::register(&context, catalog.as_ref())?;
        let met = Arc::clone(pins.met());
        Ok(Session { context, met })
    }

    /// The damage that queries have gone past since this was last asked, each place once and at most a
    /// thousand; nothing unless `timecraft.on_damage` is `skip`.
    #[must_use]
    pub fn take_damage_met(&self) -> Vec<DamageMet> {
        self.met.take()
    }

    /// The DataFusion session, to run statements with.
    #[must_use]
    pub fn context(&self) -> &SessionContext {
        &self.context
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.context.session_id())
            .finish_non_exhaustive()
    }
}
