//! The warnings while an active administrator has no second factor.

use std::time::Duration;

use reqwest::Method;

use crate::second_factors::{enrol, register, standing};
use crate::support::command::run;
use crate::support::server::{Server, on_both};

/// The state of `factors` at `/readyz`, which answers that the service is ready.
async fn factors(server: &Server) -> String {
    let ready = server.send(server.request(Method::GET, "/readyz")).await.is(200);
    assert_eq!(ready.json["status"], "ok");
    ready.json["parts"]["factors"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

on_both!(
    readiness_console_and_doctor_warn_while_an_administrator_has_no_second_factor,
    async |stage: Stage| {
        let clock = standing();
        let server = stage.start_with(clock.clone()).await;
        assert_eq!(factors(&server).await, "ok");
        let email = "admin@example.com";
        let tokens = register(&server, email).await;
        run(&stage, &["user", "set-role", email, "admin"]).with(0);
        clock.advance(Duration::from_secs(15));
        assert_eq!(factors(&server).await, "degraded");
        let stats = server.get("/admin/stats", &tokens.access).await.is(200);
        assert_eq!(stats.json["users"]["admins_without_factor"], 1);
        let ended = run(&stage, &["doctor"]);
        assert!(ended.out.contains("no second factor"), "{ended:?}");

        enrol(&server, email, &tokens).await;
        clock.advance(Duration::from_secs(15));
        assert_eq!(factors(&server).await, "ok");
        let stats = server.get("/admin/stats", &tokens.access).await.is(200);
        assert_eq!(stats.json["users"]["admins_without_factor"], 0);
        assert!(!run(&stage, &["doctor"]).out.contains("no second factor"));
        server.stop().await;
    }
);
