//! What is derived from records, and that recordings keep it: each test is a short session in Codex's own form.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::needless_pass_by_value, reason = "records are written where they are passed")]

mod approvals;
mod bundles;
mod calls;
mod dialects;
mod epochs;
mod limits;
mod lineage;
mod live;
mod recordings;
mod restarts;
mod rollouts;
mod scene;
mod turns;
