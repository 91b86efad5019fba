//! Links that prove an address or set a password.

use crate::app::App;
use crate::error::Result;
use crate::store::MailRow;

/// Looks into a request from the outbox: whose address it is, and which mails follow.
pub async fn resolve(app: &App, request: &MailRow) -> Result<()> {
    let mut tx = app.db.begin().await?;
    tx.settle_request(request).await?;
    tx.commit().await
}
