//! The console: files that were built before, embedded here, and served under a strict policy.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../console/dist"]
struct Files;

/// What a page of the console may do: load its own files and talk to its own server.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html";

/// The files that are text, packed once: packing them anew for each stranger that asks would cost
/// memory for as long as the stranger takes to read.
static PACKED: LazyLock<HashMap<String, Bytes>> = LazyLock::new(|| {
    let pack = |path: Cow<'static, str>| {
        let file = Files::get(&path).filter(|_| is_text(&path))?;
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&file.data).ok()?;
        Some((path.into_owned(), packer.finish().ok()?.into()))
    };
    Files::iter().filter_map(pack).collect()
});

/// Serves a file of the console, or its page for every other path: the console routes by itself.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD"))];
        return (StatusCode::METHOD_NOT_ALLOWED, allow).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("v1/") {
        return crate::problem::Problem::not_found("route", uri.path()).into_response();
    }
    let path = match Files::get(path) {
        Some(_) if !path.is_empty() => path,
        // A file that is missing is missing; a screen's address is the page.
        _ if path.starts_with("assets/") => return StatusCode::NOT_FOUND.into_response(),
        _ => "index.html",
    };
    let packed = PACKED.get(path).filter(|_| takes_gzip(&headers));
    let mut response = match (packed, Files::get(path)) {
        (Some(packed), _) => Response::new(Body::from(packed.clone())),
        (None, Some(file)) => Response::new(Body::from(file.data)),
        (None, None) => return StatusCode::NOT_FOUND.into_response(),
    };
    // Files under `assets/` carry their content's hash in their name.
    let keep = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind_of(path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        Some("webmanifest" | "json") => "application/json",
        Some(_) | None => "application/octet-stream",
    }
}

fn is_text(path: &str) -> bool {
    let kind = kind_of(path);
    kind.starts_with("text/") || matches!(kind, "image/svg+xml" | "application/json")
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|it| matches!(it, "q=0" | "q=0.0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &'static str, accepted: Option<&'static str>) -> Response {
        let accepted = accepted.map(|it| (header::ACCEPT_ENCODING, HeaderValue::from_static(it)));
        serve(Method::GET, Uri::from_static(path), accepted.into_iter().collect()).await
    }

    #[tokio::test]
    async fn text_is_packed_for_those_who_take_it_and_is_the_same() {
        use http_body_util::BodyExt as _;
        use std::io::Read as _;

        let plain = get("/", Some("br, gzip;q=0")).await;
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        let packed = get("/", Some("br, gzip")).await;
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        let bytes = packed.into_body().collect().await.unwrap().to_bytes();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.into_body().collect().await.unwrap().to_bytes());
    }

    #[tokio::test]
    async fn fonts_are_not_packed_again_and_what_is_missing_is_missing() {
        let font = Files::iter().find(|path| path.ends_with(".woff2")).unwrap();
        let font = format!("/{font}").parse().unwrap();
        let all = [(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))];
        let font = serve(Method::GET, font, all.into_iter().collect()).await;
        assert_eq!(font.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(get("/assets/none.js", None).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(get("/devices/pump-7", None).await.status(), StatusCode::OK);
    }
}
