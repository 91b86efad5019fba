//! `/auth/devices`: the devices that one's own account knows.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::devices;
use crate::error::Result;
use crate::http::request::body::QueryString;
use crate::http::request::caller::SignedIn;
use crate::http::request::page::PageQuery;
use crate::http::request::path::DeviceIdPath;
use crate::http::response::document::ProblemDocument;
use crate::http::response::representation::{DeviceList, ForgottenResponse};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_devices, forget_devices))
        .routes(routes!(forget_device))
}

/// Lists the devices that one's own account knows, the one that was used last first
///
/// A known device is one that the user has signed in on since the password and the address were last changed. It has a limit of
/// its own for sign-ins. A trusted one also spares its user the second factor for 30 days, from a sign-in with `trust_device`; a
/// change of the password or of the factors ends that.
#[utoipa::path(
    get, path = "/auth/devices", tag = "account", operation_id = "list_devices", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page of the devices", body = DeviceList))
)]
async fn list_devices(
    signed_in: SignedIn,
    State(app): State<App>,
    QueryString(page): QueryString<PageQuery>,
) -> Result<Json<DeviceList>> {
    let (devices, current) = devices::list(&app, &signed_in.caller).await?;
    let now = app.clock.now();
    let list = DeviceList::new(&devices, current, now, page.page(), page.size());
    Ok(Json(list))
}

/// Forgets all devices of one's own account
///
/// Sessions go on; the next sign-in from each device is one from a new device.
#[utoipa::path(
    delete, path = "/auth/devices", tag = "account", operation_id = "forget_devices", security(("bearer" = [])),
    responses((status = 200, description = "How many were forgotten", body = ForgottenResponse))
)]
async fn forget_devices(signed_in: SignedIn, State(app): State<App>) -> Result<Json<ForgottenResponse>> {
    let forgotten = devices::forget_all(&app, signed_in.caller.id(), &signed_in.client).await?;
    Ok(Json(ForgottenResponse { forgotten }))
}

/// Forgets one device of one's own account
#[utoipa::path(
    delete, path = "/auth/devices/{id}", tag = "account", operation_id = "forget_device", security(("bearer" = [])),
    params(("id" = String, Path, format = Uuid, description = "The device")),
    responses(
        (status = 204, description = "The device is forgotten"),
        (status = 404, description = "`not_found`: no known device of this user", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
async fn forget_device(
    signed_in: SignedIn,
    State(app): State<App>,
    DeviceIdPath(id): DeviceIdPath,
) -> Result<StatusCode> {
    devices::forget(&app, signed_in.caller.id(), id, &signed_in.client).await?;
    Ok(StatusCode::NO_CONTENT)
}
