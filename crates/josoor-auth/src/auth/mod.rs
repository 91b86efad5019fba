//! Who somebody is: verified before a session is opened.

pub mod devices;
