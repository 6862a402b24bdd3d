//! Files are read on threads that may block, never on those that run queries.

use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};

/// Runs `work` on a thread that may block. Who drops the future no longer waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    SpawnedTask::spawn_blocking(work)
        .join_unwind()
        .await
        .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}
