//! Certificates for tests, made by the `openssl` program, and servers that show or demand them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::oracle;
use crate::programs::Ran;

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An authority that exists for one test.
#[derive(Debug)]
pub struct Authority {
    openssl: PathBuf,
    dir: TempDir,
}

impl Authority {
    /// A new one, or `None` after noting that `test` is skipped without `openssl`.
    ///
    /// # Panics
    /// When `openssl` fails.
    pub fn new(test: &str) -> Option<Self> {
        let authority = Self {
            openssl: oracle::find(test, "openssl")?,
            dir: tempfile::tempdir().expect("a temporary folder"),
        };
        let constraints = "basicConstraints=critical,CA:TRUE";
        authority.run(
            "ca",
            &["-subj", "/CN=An authority of tests", "-addext", constraints],
        );
        Some(authority)
    }

    /// Its own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for the hosts `names`, such as `DNS:localhost`.
    ///
    /// # Panics
    /// When `openssl` fails.
    pub fn issue(&self, file: &str, names: &str) -> Issued {
        let (ca, key) = (self.path("ca.pem"), self.path("ca.key"));
        let (ca, key) = (ca.display().to_string(), key.display().to_string());
        let names = format!("subjectAltName={names}");
        self.run(
            file,
            &[
                &["-subj", &format!("/CN={file}"), "-addext", &names][..],
                &["-addext", "basicConstraints=critical,CA:FALSE"],
                &["-CA", &ca, "-CAkey", &key],
            ]
            .concat(),
        );
        Issued {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
        }
    }

    /// A new key and a certificate to it.
    fn run(&self, file: &str, more: &[&str]) {
        let mut command = Command::new(&self.openssl);
        command
            .args(["req", "-x509", "-newkey", "ec", "-noenc", "-days", "7"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
            // Nothing of this machine's configuration, which may add extensions of its own.
            .args(["-config", "/dev/null"])
            .arg("-keyout")
            .arg(self.path(&format!("{file}.key")))
            .arg("-out")
            .arg(self.path(&format!("{file}.pem")))
            .args(more);
        Ran::of(&mut command).done();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server that shows `issued`.
    ///
    /// # Panics
    /// When the files are not what they must be.
    pub fn server(issued: &Issued) -> ServerConfig {
        builder()
            .with_no_client_auth()
            .with_single_cert(certificates(&issued.certificate), key(&issued.key))
            .expect("a certificate and its key")
    }

    /// The same that demands a certificate of this authority from every client.
    ///
    /// # Panics
    /// When the files are not what they must be.
    pub fn strict_server(&self, issued: &Issued) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.certificate()) {
            roots.add(certificate).expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("a verifier");
        builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&issued.certificate), key(&issued.key))
            .expect("a certificate and its key")
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions that the provider knows")
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .expect("a PEM file")
        .collect::<Result<_, _>>()
        .expect("certificates")
}

fn key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).expect("a private key")
}
