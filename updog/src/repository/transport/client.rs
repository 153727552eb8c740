//! The one HTTP client of a run: timeouts, proxies, whom it trusts and who it is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snafu::{ResultExt, Snafu, ensure};

use super::redirect;
use super::settings::{ClientIdentity, TransportSettings};

/// A larger file is no collection of certificates.
const MAX_PEM_BYTES: u64 = 4 << 20;
/// Bytes that a server may send over HTTP/2 before they are taken, which wait in memory: of one file,
/// 10 MiB each second where an answer takes a tenth of one.
pub(super) const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same of all that come over one connection: see `parts`.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// Why a client cannot be made.
#[derive(Debug, Snafu)]
#[allow(missing_docs)] // the message says what each field is
pub enum ClientError {
    /// A file of certificates, or a key, cannot be read.
    #[snafu(display("reading {}, the value of key '{key}'", path.display()))]
    ReadPem {
        key: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The file is not what its key wants.
    #[snafu(display("{}, the value of key '{key}', is not PEM", path.display()))]
    ParsePem {
        key: &'static str,
        path: PathBuf,
        source: pem::Error,
    },
    /// The file is PEM without a certificate.
    #[snafu(display("{}, the value of key '{key}', holds no certificate in PEM", path.display()))]
    NoCertificate { key: &'static str, path: PathBuf },
    /// A certificate that TLS cannot use.
    #[snafu(display("{}, the value of key 'ca_file', holds no usable authority", path.display()))]
    Authority {
        path: PathBuf,
        source: rustls::Error,
    },
    /// The file has no key, or one with a passphrase.
    #[snafu(display(
        "{}, the value of key 'client_key', holds no private key in PEM without a passphrase",
        path.display()
    ))]
    NoKey { path: PathBuf },
    /// Certificate and key are not a pair.
    #[snafu(display(
        "{} and {}, the values of keys 'client_certificate' and 'client_key', are no certificate \
         and its private key",
        certificate.display(),
        key.display()
    ))]
    NoPair {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    /// Whatever else the libraries do not like.
    #[snafu(display("setting up the HTTP client"))]
    Build { source: reqwest::Error },
}

/// The client for `settings`. Where https is not used, a system that has no authorities at all is
/// as good as any.
pub(super) fn build(settings: &TransportSettings, uses_https: bool) -> Result<Client, ClientError> {
    // Fails only if a provider is installed already, by an earlier client of this process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authorities = match &settings.ca_file {
        Some(path) => authorities(path)?,
        None => Vec::new(),
    };
    let identity = settings
        .client_identity
        .as_ref()
        .map(identity)
        .transpose()?;
    let builder = || {
        let builder = builder(settings)?;
        Ok(match identity.clone() {
            Some(identity) => builder.identity(identity),
            None => builder,
        })
    };
    let client = builder()
        .map(|builder| builder.tls_certs_merge(authorities.clone()))
        .and_then(ClientBuilder::build);
    match client {
        Err(_) if !uses_https => {
            builder().and_then(|builder| builder.tls_certs_only(authorities).build())
        }
        client => client,
    }
    .context(BuildSnafu)
}

fn builder(settings: &TransportSettings) -> reqwest::Result<ClientBuilder> {
    let builder = Client::builder()
        .user_agent(concat!("updog/", env!("CARGO_PKG_VERSION")))
        // Who reads has the timer for transfers that stand still, see `request`.
        .connect_timeout(settings.connect_timeout)
        .redirect(redirect::policy())
        // It would carry the query to whom a server redirects.
        .referer(false)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let Some(proxy) = &settings.https_proxy else {
        // reqwest reads HTTPS_PROXY and NO_PROXY itself, in lower case too.
        return Ok(builder);
    };
    let excluded = if settings.no_proxy.is_empty() {
        NoProxy::from_env()
    } else {
        NoProxy::from_string(&settings.no_proxy.join(","))
    };
    Ok(builder.proxy(Proxy::https(proxy.clone())?.no_proxy(excluded)))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    certificates("ca_file", path, &read("ca_file", path)?)?
        .into_iter()
        .map(|der| {
            // Looked at here, where the file can be named.
            rustls::RootCertStore::empty()
                .add(der.clone())
                .context(AuthoritySnafu { path })?;
            Certificate::from_der(&der).context(BuildSnafu)
        })
        .collect()
}

fn identity(identity: &ClientIdentity) -> Result<Identity, ClientError> {
    let ClientIdentity { certificate, key } = identity;
    let mut pem = read("client_certificate", certificate)?;
    let chain = certificates("client_certificate", certificate, &pem)?;
    let key_pem = read("client_key", key)?;
    let private = match PrivateKeyDer::from_pem_slice(&key_pem) {
        Ok(private) => private,
        Err(pem::Error::NoItemsFound) => return NoKeySnafu { path: key }.fail(),
        Err(source) => {
            let (path, key) = (key, "client_key");
            return Err(source).context(ParsePemSnafu { key, path });
        }
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, private, &provider)
        .context(NoPairSnafu { certificate, key })?;
    pem.push(b'\n');
    pem.extend_from_slice(&key_pem);
    Identity::from_pem(&pem).context(BuildSnafu)
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .context(ParsePemSnafu { key, path })?;
    ensure!(!found.is_empty(), NoCertificateSnafu { key, path });
    Ok(found)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, ClientError> {
    let read = || {
        let mut bytes = Vec::new();
        let length = File::open(path)?
            .take(MAX_PEM_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if u64::try_from(length).is_ok_and(|length| length <= MAX_PEM_BYTES) {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        }
    };
    read().context(ReadPemSnafu { key, path })
}
