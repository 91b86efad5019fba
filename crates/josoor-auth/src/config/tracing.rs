//! `[tracing]`: where traces are sent, and how many.

use std::io::Read as _;

use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use super::raw::{Parsed, Raw, refused, shown};
use super::reader::Reader;
use super::urls::{header_name, is_this_machine};
use super::values::{any_text, optional, ratio, text};
use crate::domain::Secret;

/// Appended to the base URL (OTLP 1.x, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// The port that collectors offer gRPC on.
const GRPC_PORT: u16 = 4317;

/// The one protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// Headers that belong to the connection or to what is sent.
const OWN_HEADERS: [&str; 6] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
];

/// `[tracing]`
#[derive(Clone, Debug)]
pub struct TracingConfig {
    /// Where spans are sent; `None`: nothing is traced.
    pub collector: Option<CollectorConfig>,
    /// The share of the traces that begin here, from 0 to 1.
    pub sample: f64,
    /// The same for `GET /auth/me` and `/auth/check`; at 0 they are never traced.
    pub sample_checks: f64,
    /// `service.name` of what is sent.
    pub service_name: String,
    /// Further attributes of the service, with their names.
    pub attributes: Vec<(String, String)>,
}

/// A receiver of spans.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// What spans are posted to.
    pub url: Url,
    /// Headers of each request, by lower-case name. Values are visible ASCII.
    pub headers: Vec<(String, Secret)>,
    /// What its certificate is verified with; `None`: those of the system.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

impl Reader<'_> {
    pub(super) fn tracing(&mut self) -> Option<TracingConfig> {
        let url = self.read("tracing.endpoint", |raw| optional(raw, endpoint));
        let protocol = self.read("tracing.protocol", |raw| any_text(raw).map(str::to_owned));
        let headers = self.read("tracing.headers", |raw| optional(raw, headers));
        let authorities = self.read("tracing.certificate", |raw| optional(raw, certificates));
        let sample = self.read("tracing.sample", ratio);
        let sample_checks = self.read("tracing.sample_checks", ratio);
        let service_name = self.read("tracing.service_name", service_name);
        let attributes = self.read("tracing.resource_attributes", |raw| optional(raw, attributes));
        let (url, headers, authorities) = (url?, headers?.unwrap_or_default(), authorities?);
        if let Some(url) = &url {
            self.check_endpoint(url, !headers.is_empty());
            // The variable may be meant for other programs of the machine, as long as nothing is traced here.
            if protocol? != PROTOCOL {
                self.problem(
                    "tracing.protocol",
                    format!("only {PROTOCOL} is spoken"),
                    format!(
                        "write {PROTOCOL}, and the port of OTLP over HTTP in tracing.endpoint, usually 4318"
                    ),
                );
            }
        }
        Some(TracingConfig {
            collector: url.map(|url| CollectorConfig {
                url,
                headers,
                authorities,
            }),
            sample: sample?,
            sample_checks: sample_checks?,
            service_name: service_name?,
            attributes: attributes?.unwrap_or_default(),
        })
    }

    fn check_endpoint(&mut self, url: &Url, has_headers: bool) {
        let is_here = url.host_str().is_some_and(is_this_machine);
        if has_headers && url.scheme() == "http" && !is_here {
            self.warn(
                "tracing.endpoint",
                "tracing.headers cross the network unencrypted; use https://",
            );
        }
        if url.port() == Some(GRPC_PORT) {
            self.warn(
                "tracing.endpoint",
                "4317 is usually the port of gRPC, which is not spoken; OTLP over HTTP is usually at 4318",
            );
        }
    }
}

/// The base URL of a receiver; gives the URL that traces are posted to.
fn endpoint(raw: &Raw) -> Parsed<Url> {
    const REMEDY: &str = "write the base URL of a receiver of OTLP over HTTP, such as http://127.0.0.1:4318";
    let url = Url::parse(text(raw)?).ok().filter(|url| {
        let has_extra = url.query().is_some() || url.fragment().is_some();
        matches!(url.scheme(), "http" | "https") && url.has_host() && !has_extra
    });
    let Some(mut url) = url else {
        return refused("this is not the URL of a receiver of traces", REMEDY);
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refused(
            "a user in the URL would be shown with it",
            "write tracing.headers, such as authorization=Basic%20BASE64",
        );
    }
    let base = url.path().trim_end_matches('/');
    if base.ends_with(TRACES_PATH) {
        return refused(
            format!("{TRACES_PATH} is appended to this"),
            "write the URL without it",
        );
    }
    let path = format!("{base}{TRACES_PATH}");
    url.set_path(&path);
    Ok(url)
}

/// `name=value,name=value`, with percent-encoded values (W3C Baggage, 3.2, as the variables of OpenTelemetry are written).
fn pairs(given: &str) -> Option<Vec<(String, String)>> {
    given
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().to_owned(), value.into_owned()))
        })
        .collect()
}

fn headers(raw: &Raw) -> Parsed<Vec<(String, Secret)>> {
    let headers = pairs(text(raw)?).and_then(|pairs| pairs.into_iter().map(header).collect());
    match headers {
        Some(headers) => Ok(headers),
        // Without a name: where a `=` is missing, what stands there is the secret.
        None => refused(
            "these are not headers that can be sent",
            "write name=value,name=value with percent-encoded values, such as authorization=Bearer%20TOKEN",
        ),
    }
}

fn header((name, value): (String, String)) -> Option<(String, Secret)> {
    let name = header_name(&name).ok()?;
    let is_name = !name.is_empty() && !OWN_HEADERS.contains(&name.as_str());
    let is_value = !value.is_empty() && value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (is_name && is_value).then(|| (name, Secret::new(value)))
}

/// More than a bundle of all public authorities has.
const LARGEST_BUNDLE: u64 = 4 << 20;

/// The certificates of a file.
fn certificates(raw: &Raw) -> Parsed<Vec<CertificateDer<'static>>> {
    const REMEDY: &str =
        "name a readable file in PEM with the certificate of the authority that signed the receiver's";
    let path = super::values::path(raw)?;
    let name = shown(&path.to_string_lossy());
    let mut pem = Vec::new();
    let read = std::fs::metadata(&path).and_then(|found| {
        // A pipe would keep the start waiting.
        if !found.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        std::fs::File::open(&path)?
            .take(LARGEST_BUNDLE)
            .read_to_end(&mut pem)
    });
    if let Err(error) = read {
        return refused(format!("{name} cannot be read: {error}"), REMEDY);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => refused(format!("{name} has no certificates in PEM"), REMEDY),
    }
}

/// The longest name or value of an attribute of the service.
const LONGEST: usize = 200;

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control)
}

fn service_name(raw: &Raw) -> Parsed<String> {
    let given = text(raw)?;
    if is_plain(given) {
        return Ok(given.to_owned());
    }
    refused(
        "this is not the name of a service",
        format!("write up to {LONGEST} characters on one line"),
    )
}

fn attributes(raw: &Raw) -> Parsed<Vec<(String, String)>> {
    const AT_MOST: usize = 32;
    let attributes = pairs(text(raw)?).filter(|all| {
        let are_plain = all.iter().all(|(name, value)| is_plain(name) && is_plain(value));
        are_plain && all.len() <= AT_MOST
    });
    match attributes {
        Some(attributes) => Ok(attributes),
        None => refused(
            "these are not attributes",
            format!(
                "write name=value,name=value, {AT_MOST} at most, with percent-encoded values, such as \
                 deployment.environment.name=production"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{Config, ConfigError};

    fn parsed(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env: BTreeMap<_, _> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::parse(None, &env)
    }

    #[test]
    fn the_variables_of_opentelemetry_are_read() {
        let config = parsed(&[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "https://collector.example:4318/otlp/",
            ),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20hidden==, X-Tenant = josoor",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "sign-in"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=production,team=%D8%AC%D8%B3%D9%88%D8%B1",
            ),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ])
        .expect("a configuration");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let tracing = &config.tracing;
        let collector = tracing.collector.as_ref().expect("a collector");
        assert_eq!(
            collector.url.as_str(),
            "https://collector.example:4318/otlp/v1/traces"
        );
        let headers: Vec<_> = collector
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect();
        assert_eq!(
            headers,
            [("authorization", "Bearer hidden=="), ("x-tenant", "josoor")]
        );
        assert_eq!(tracing.service_name, "sign-in");
        assert_eq!(tracing.attributes[1], ("team".to_owned(), "جسور".to_owned()));
        assert!((tracing.sample - 0.25).abs() < f64::EPSILON);
        assert!(tracing.sample_checks.abs() < f64::EPSILON);
        assert!(!format!("{config:?}{}", config.to_json()).contains("hidden"));
    }

    #[test]
    fn another_protocol_is_refused_only_where_traces_are_sent() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert!(parsed(&[grpc]).is_ok_and(|config| config.tracing.collector.is_none()));
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        let error = parsed(&[grpc, endpoint]).expect_err("grpc").to_string();
        assert!(
            error.starts_with("tracing.protocol (OTEL_EXPORTER_OTLP_PROTOCOL): "),
            "{error}"
        );
        let warnings = parsed(&[endpoint]).expect("a configuration").warnings;
        assert!(
            warnings.len() == 1 && warnings[0].contains("4318"),
            "{warnings:?}"
        );
        let warnings = parsed(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hidden"),
        ]);
        let warnings = warnings.expect("a configuration").warnings;
        assert!(
            warnings.len() == 1 && warnings[0].contains("https://"),
            "{warnings:?}"
        );
    }

    #[test]
    fn certificates_of_a_receiver_are_read_or_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let file = file.to_str().expect("a path");
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318");
        let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", file);
        let pem = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        for (content, reason) in [
            (None, "cannot be read: No such file"),
            (Some("no certificate"), "has no certificates in PEM"),
            (
                Some("-----BEGIN CERTIFICATE-----\n!\n"),
                "has no certificates in PEM",
            ),
        ] {
            if let Some(content) = content {
                std::fs::write(file, content).expect("written");
            }
            let error = parsed(&[endpoint, certificate]).expect_err(reason).to_string();
            assert!(
                error.starts_with("tracing.certificate (OTEL_EXPORTER_OTLP_CERTIFICATE): "),
                "{error}"
            );
            assert!(
                error.contains(reason) && error.contains("; name a readable file"),
                "{error}"
            );
        }
        std::fs::write(file, pem.repeat(2)).expect("written");
        let config = parsed(&[endpoint, certificate]).expect("a configuration");
        let authorities = config
            .tracing
            .collector
            .as_ref()
            .and_then(|one| one.authorities.as_ref());
        assert_eq!(authorities.map(Vec::len), Some(2));
        let config = parsed(&[endpoint]).expect("a configuration");
        assert!(
            config
                .tracing
                .collector
                .as_ref()
                .is_some_and(|one| one.authorities.is_none())
        );
    }

    #[test]
    fn a_share_is_a_number_in_a_file_and_a_text_in_a_variable() {
        for text in ["0", "1", "0.5", "1.0", "1e-3"] {
            let file = format!("[tracing]\nsample = {text}\n");
            let of_file = Config::parse(Some(("josoor.toml", &file)), &BTreeMap::new()).expect(text);
            let of_env = parsed(&[("OTEL_TRACES_SAMPLER_ARG", text)]).expect(text);
            let shown = |config: &Config| config.to_json()["settings"]["tracing.sample"]["value"].clone();
            assert!(shown(&of_file).is_f64(), "{text}");
            assert_eq!(shown(&of_file), shown(&of_env), "{text}");
        }
    }
}
