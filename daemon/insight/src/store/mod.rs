//! What insight keeps in the engine's store: sessions, cursors, packed rows, signals and their log.
//!
//! - `tables`: the tables and what stands in their rows;
//! - `message`: rows of a session as protobuf messages, and back;
//! - `page`: many rows in one value, compressed;
//! - `finding`: what could not be read;
//! - `chunk`: one large value in several rows;
//! - `cursor`: how far a session has been read, also where it has hundreds of files;
//! - `hash`: a hash for keeps.

pub(crate) mod chunk;
pub(crate) mod cursor;
pub(crate) mod finding;
pub(crate) mod hash;
pub(crate) mod message;
pub(crate) mod page;
pub(crate) mod tables;
