//! Which part of a list.

use crate::http::request::definition::request_fields;
use crate::http::request::field_types::Number;

request_fields! {
    /// A page of a list.
    pub struct PageQuery {
        /// From 1
        page: Option<Number<1_000_000_000>>,
        /// Default: 20
        page_size: Option<Number<100>>,
    }
}

impl PageQuery {
    /// The page, from 1.
    pub fn page(&self) -> i64 {
        self.page.map_or(1, |page| page.0)
    }

    /// The most items on a page.
    pub fn size(&self) -> i64 {
        self.page_size.map_or(20, |size| size.0)
    }

    /// How many items come before the page.
    pub fn offset(&self) -> i64 {
        (self.page() - 1).saturating_mul(self.size())
    }
}
