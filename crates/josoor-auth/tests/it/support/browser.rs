//! A browser without scripts: it keeps cookies, fills in forms and follows no redirect by itself.

use std::collections::BTreeMap;

use regex::Regex;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};

use super::server::Server;

/// The origin of the service, as the tests configure it by default.
pub(crate) const OWN: &str = "http://localhost:8000";

/// A page that a browser shows.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    /// Where the answer redirects to.
    #[track_caller]
    pub(crate) fn to(&self) -> String {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{self:?}");
        self.headers["location"].to_str().expect("ASCII").to_owned()
    }

    /// Fails the test unless the page has this status and this heading.
    #[track_caller]
    pub(crate) fn shows(self, status: u16, heading: &str) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        let headings: Vec<String> = Regex::new("(?s)<h1[^>]*>(.*?)</h1>")
            .expect("a pattern")
            .captures_iter(&self.text)
            .map(|found| unescape(&found[1]))
            .collect();
        assert_eq!(headings, [heading], "{}", self.text);
        self
    }

    /// What a reader reads: without tags, style and script.
    pub(crate) fn words(&self) -> String {
        let cut = Regex::new("(?s)<(style|script)>.*?</(style|script)>|<[^>]*>").expect("a pattern");
        unescape(&cut.replace_all(&self.text, " ")).replace(['\u{2068}', '\u{2069}'], "")
    }

    /// The address and the hidden fields of the form for this action.
    #[track_caller]
    pub(crate) fn form(&self, action: &str) -> (String, Vec<(String, String)>) {
        let forms = Regex::new(r#"(?s)<form method="post" action="([^"]*)".*?</form>"#).expect("a pattern");
        let hidden =
            Regex::new(r#"<input type="hidden" name="([^"]*)" value="([^"]*)">"#).expect("a pattern");
        for form in forms.captures_iter(&self.text) {
            let fields: Vec<(String, String)> = hidden
                .captures_iter(&form[0])
                .map(|field| (field[1].to_owned(), unescape(&field[2])))
                .collect();
            let found = fields.iter().find(|(name, _)| name == "do");
            if found.map_or("", |(_, value)| value) == action {
                return (unescape(&form[1]), fields);
            }
        }
        panic!("no form {action:?} in {}", self.text);
    }

    /// The value of a field.
    pub(crate) fn value_of(&self, name: &str) -> Option<String> {
        let field = Regex::new(&format!(r#"<input id="{name}"[^>]* value="([^"]*)""#)).expect("a pattern");
        field.captures(&self.text).map(|found| unescape(&found[1]))
    }
}

fn unescape(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A browser.
pub(crate) struct Browser {
    http: reqwest::Client,
    /// By name: the path and the value.
    cookies: BTreeMap<String, (String, String)>,
    language: &'static str,
    pub(crate) origin: Option<&'static str>,
    pub(crate) site: Option<&'static str>,
    /// Every address that was asked for.
    pub(crate) seen: Vec<String>,
}

impl Browser {
    pub(crate) fn new(language: &'static str) -> Self {
        // The default provider is there once a server was started.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self {
            http,
            cookies: BTreeMap::new(),
            language,
            origin: Some(OWN),
            site: Some("same-origin"),
            seen: Vec::new(),
        }
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(|(_, value)| value.as_str())
    }

    /// Puts a cookie in.
    pub(crate) fn set_cookie(&mut self, name: &str, path: &str, value: &str) {
        self.cookies
            .insert(name.to_owned(), (path.to_owned(), value.to_owned()));
    }

    fn cookie_header(&self, path: &str) -> String {
        self.cookies
            .iter()
            .filter(|(_, (of, _))| path.starts_with(of.as_str()))
            .map(|(name, (_, value))| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    async fn send(&mut self, server: &Server, method: Method, path: &str, body: Option<String>) -> Page {
        self.seen.push(path.to_owned());
        let mut request = self
            .http
            .request(method, server.url(path))
            .header("accept", "text/html")
            .header("accept-language", self.language)
            .header("cookie", self.cookie_header(path));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body);
            if let Some(origin) = self.origin {
                request = request.header("origin", origin);
            }
            if let Some(site) = self.site {
                request = request.header("sec-fetch-site", site);
            }
        }
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("ASCII");
            let (pair, attributes) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            let path = attributes
                .split(';')
                .find_map(|part| part.trim().strip_prefix("Path="))
                .unwrap_or("/");
            let is_same = self.cookies.get(name).is_none_or(|(of, _)| of == path);
            if attributes.contains("Max-Age=0") {
                if is_same {
                    self.cookies.remove(name);
                }
            } else {
                self.set_cookie(name, path, value);
            }
        }
        Page {
            status,
            headers,
            text: answer.text().await.expect("a text"),
        }
    }

    /// Asks for a page.
    pub(crate) async fn open(&mut self, server: &Server, path: &str) -> Page {
        self.send(server, Method::GET, path, None).await
    }

    /// Submits the form of a page for this action, with these fields.
    pub(crate) async fn submit(
        &mut self,
        server: &Server,
        page: &Page,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Page {
        let (address, hidden) = page.form(action);
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<(&str, &str)> = hidden.chain(fields.iter().copied()).collect();
        self.post(server, &address, &all).await
    }

    /// Posts these fields.
    pub(crate) async fn post(&mut self, server: &Server, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        self.send(server, Method::POST, path, Some(body)).await
    }

    /// Posts this text as a form.
    pub(crate) async fn post_text(&mut self, server: &Server, path: &str, body: &str) -> Page {
        self.send(server, Method::POST, path, Some(body.to_owned())).await
    }

    /// Submits a form, and shows where it leads to on this service.
    pub(crate) async fn follow(
        &mut self,
        server: &Server,
        page: &Page,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Page {
        let to = self.submit(server, page, action, fields).await.to();
        self.open(server, &to).await
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
