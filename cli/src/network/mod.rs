//! What a guest did with the network, for the commands that show it.
//!
//! [`walk`] goes through a log with the decoder of connections, also while it grows; [`row`] makes
//! rows of what that says, [`filter`] keeps those that were asked for, [`text`] and [`json`] write
//! them; [`dns`] shows queries with their responses. Nothing here may know of options or of where its output goes.

pub mod dns;
pub mod filter;
pub mod json;
pub mod row;
pub mod text;
pub mod walk;
