//! The map page: a few files in the program, which hold no data and ask the API for it.
//!
//! Nothing is loaded from elsewhere and no script or style stands in the markup, so the content security policy is the
//! plain `default-src 'self'`. It and its fellows go with every answer, the API's included.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::access::Right;
use super::error::ApiError;
use super::session::Via;
use super::{App, browser};

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $kind:expr, $name:literal) => {
        ($path, $kind, include_str!(concat!("page/", $name)))
    };
}

/// Path, type and text of each file.
const FILES: &[(&str, &str, &str)] = &[
    file!("/", "text/html; charset=utf-8", "index.html"),
    file!("/page/icon.svg", "image/svg+xml", "icon.svg"),
    file!("/page/map.css", "text/css; charset=utf-8", "map.css"),
    file!("/page/main.js", SCRIPT, "main.js"),
    file!("/page/api.js", SCRIPT, "api.js"),
    file!("/page/change.js", SCRIPT, "change.js"),
    file!("/page/details.js", SCRIPT, "details.js"),
    file!("/page/dom.js", SCRIPT, "dom.js"),
    file!("/page/draw.js", SCRIPT, "draw.js"),
    file!("/page/keys.js", SCRIPT, "keys.js"),
    file!("/page/layout.js", SCRIPT, "layout.js"),
    file!("/page/model.js", SCRIPT, "model.js"),
    file!("/page/propose.js", SCRIPT, "propose.js"),
    file!("/page/table.js", SCRIPT, "table.js"),
    file!("/page/zoom.js", SCRIPT, "zoom.js"),
];

const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the page's files to `router`.
pub(super) fn files(mut router: Router<App>) -> Router<App> {
    for (path, kind, text) in FILES {
        let file = move || async move { ([(header::CONTENT_TYPE, *kind)], *text) };
        router = router.route(path, get(file).layer(from_fn(own)));
    }
    router
}

/// The page by its own names only: one that is called by a foreign name is part of a foreign page's plan.
async fn own(
    axum::Extension(via): axum::Extension<Via>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    browser::check(via, Right::Open, request.method(), request.headers())?;
    Ok(next.run(request).await)
}

/// What every answer carries: no guessing of types, no frames, no other origin, no store.
pub(super) async fn careful(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await.into_response();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn the_page_loads_its_own_files_and_nothing_else() {
        let mut loaded = vec!["/"];
        for (path, _, text) in FILES {
            for (at, _) in text.match_indices("://") {
                let start = text[..at].rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
                let name = text[start..].split(['"', '\'', ' ', '`']).next();
                assert_eq!(name, Some("http://www.w3.org/2000/svg"), "{path} names another host");
            }
            assert!(
                !text.contains("innerHTML") && !text.contains("style=") && !text.contains("eval("),
                "{path}"
            );
            let quoted = text.split('"').skip(1).step_by(2);
            for name in quoted.filter(|name| !name.contains(' ')) {
                let name =
                    name.strip_prefix("./").map_or_else(|| name.to_owned(), |name| format!("/page/{name}"));
                if name.starts_with("/page/") {
                    let found = FILES.iter().find(|(path, ..)| *path == name);
                    loaded.push(found.unwrap_or_else(|| panic!("{path} loads {name}, which is not there")).0);
                }
            }
        }
        for (path, ..) in FILES {
            assert!(loaded.contains(path), "{path} is loaded by nobody");
        }
    }
}
