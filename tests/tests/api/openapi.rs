//! The document that describes the API, held against the server by schemathesis.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use system_tests::api::Api;
use system_tests::oracle;
use system_tests::world::TwoReleases as World;

/// A TCP port that leads to the socket; schemathesis knows no others.
fn bridge(socket: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = socket.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&socket) else {
                continue;
            };
            thread::spawn(move || pipe(&stream, &server));
        }
    });
    format!("http://{address}")
}

fn pipe(client: &TcpStream, server: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &*server);
            let _ = server.shutdown(std::net::Shutdown::Write);
        });
        let _ = io::copy(&mut &*server, &mut &*client);
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
}

/// That another command is under way is an answer to a right request.
const SETTINGS: &str = "[checks.positive_data_acceptance]\n\
    expected-statuses = [\"2xx\", 403, 404, 409, 423]\n";

fn run(python: &Path, world: &World, api: &Api, more: &[&str]) -> String {
    let url = bridge(api.socket());
    std::fs::write(world.host.path("schemathesis.toml"), SETTINGS).unwrap();
    let output = Command::new(python.with_file_name("schemathesis"))
        .current_dir(world.host.path(""))
        .args(["run", &format!("{url}/openapi.json")])
        .args(more)
        .output()
        .unwrap();
    let said = [&output.stdout, &output.stderr]
        .map(|part| String::from_utf8_lossy(part))
        .concat();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let test = "schemathesis_finds_nothing_that_the_document_does_not_say";
    let Some(python): Option<PathBuf> = oracle::schemathesis(test) else {
        return;
    };
    let world = World::new();
    world.host.configure("reboot_command = [\"true\"]\n");
    let api = Api::start(&world.host);
    api.done("refresh-updates");
    // The stream never ends, so that it is not asked for here.
    let said = run(
        &python,
        &world,
        &api,
        &[
            "--exclude-path=/updates/events",
            "--exclude-checks=negative_data_rejection,unsupported_method",
            "--seed=7",
            "--max-examples=20",
            "--workers=1",
            "--suppress-health-check=all",
            "--no-color",
        ],
    );
    let document = api.get("/openapi.json").expect(200).json();
    let paths = document["paths"].as_object().unwrap();
    // Neither that one nor the path of the document itself.
    let tested = format!("Tested: {}\n", paths.len() - 2);
    assert!(said.contains(&tested), "{said}");
    // Each path that it names is one, and has the method that it says.
    for (path, methods) in paths {
        let method = methods.as_object().unwrap().keys().next().unwrap();
        let other = if method == "get" { "DELETE" } else { "GET" };
        let refused = system_tests::api::ask(api.socket(), other, path, &[]);
        assert_eq!(refused.code, 405, "{path}");
        let allowed = &refused.headers["allow"];
        assert!(
            allowed.contains(&method.to_uppercase()),
            "{path}: {allowed}"
        );
    }
}
