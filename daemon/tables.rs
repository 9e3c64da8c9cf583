//! Every table of the daemon's store, whichever crate owns it: the daemon at work and the commands that look
//! at a store without one must know the same.

use engine::store::{TableInfo, join_tables};

use crate::bundles;

/// Every table there is.
pub(crate) static TABLES: &[TableInfo] = &join_tables::<
    { engine::TABLES.len() + insight::TABLES.len() + bundles::TABLES.len() },
>(&[engine::TABLES, insight::TABLES, bundles::TABLES]);
