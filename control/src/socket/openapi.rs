//! The description of the API.

use axum::Json;
use utoipa::OpenApi;

use super::{
    ask, candidate, capture, change, drafts, drops, events, flows, handover, inventory, map, metrics,
    propose, read, records, rules, sign_in,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringfence control socket",
        description = "HTTP and JSON on a Unix socket. `curl --unix-socket /run/ringfence/ringfence.sock \
                       http://ringfence/v1/status`"
    ),
    paths(
        document,
        metrics::metrics,
        read::status,
        sign_in::who,
        sign_in::sign_in,
        sign_in::sign_out,
        sign_in::code,
        flows::flows,
        events::events,
        records::records,
        map::map,
        propose::propose,
        rules::rules,
        read::workloads,
        drops::drops,
        capture::capture,
        capture::end,
        read::policy,
        read::history,
        ask::explain,
        ask::matrix,
        inventory::put,
        inventory::remove,
        inventory::label,
        change::publish,
        change::check,
        change::promote,
        change::rollback,
        change::confirm,
        candidate::diff,
        candidate::simulate,
        drafts::list,
        drafts::stage,
        drafts::unstage,
        handover::hand_over,
    )
)]
pub(super) struct Api;

/// This description, as OpenAPI 3.1.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "OpenAPI", body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::ROUTES;

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let api = serde_json::to_value(Api::openapi()).unwrap();
        let paths = api["paths"].as_object().unwrap();
        for route in ROUTES {
            let operation = &paths[route.path][route.method];
            assert!(operation.is_object(), "{} {} is not described", route.method, route.path);
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|r| r.contains_key("200") || r.contains_key("101")),
                "{}",
                route.path
            );
        }
        let described: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
        assert_eq!(described, ROUTES.len());
    }
}
