//! API (being written).
