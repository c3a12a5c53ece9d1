use std::collections::BTreeSet;
use std::path::Path;

use clap::ValueEnum as _;

use super::{Candidate, Tools, config};
use crate::proxy::site;

#[test]
fn every_configuration_names_its_listener_all_servers_and_whom_it_allows() {
    let folder = std::env::temp_dir().join(format!("ringfence-bench-peers-{}", std::process::id()));
    let mut ports = BTreeSet::new();
    for &candidate in Candidate::value_variants() {
        let folder = folder.join(candidate.name());
        std::fs::create_dir_all(&folder).unwrap();
        let listen = candidate.target(0);
        let arguments = {
            let servers = site::servers(0);
            let asked = config::Asked { folder: &folder, listen, servers: &servers, connections: 9 };
            asked.write(candidate).unwrap()
        };
        assert_eq!(arguments.is_some(), candidate.is_proxy(), "{candidate:?}");
        let Some(arguments) = arguments else { continue };
        assert!(ports.insert(listen.port()), "{candidate:?} shares its port");
        let mut all = arguments.join(" ");
        for file in std::fs::read_dir(&folder).unwrap() {
            all += &std::fs::read_to_string(file.unwrap().path()).unwrap();
        }
        for server in site::servers(0) {
            let (ip, port) = (server.ip().to_string(), server.port().to_string());
            assert!(all.contains(&ip) && all.contains(&port), "{candidate:?} lacks {server}");
        }
        assert!(all.contains(&listen.port().to_string()), "{candidate:?}");
        assert_eq!(all.contains("10.1.0.0"), candidate.judges(), "{candidate:?}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_not_there_is_said() {
    let nowhere = Path::new("/nonexistent").to_owned();
    let tools = Tools {
        ringfence: nowhere.join("ringfence"),
        peers: nowhere.clone(),
        own: nowhere,
        open_files: 20_000,
    };
    assert_eq!(tools.connections(), 8_950);
    for candidate in [Candidate::Ringfence, Candidate::Envoy, Candidate::Sozu] {
        assert!(candidate.version(&tools).unwrap_err().contains("cannot be run"), "{candidate:?}");
    }
    assert_eq!(Candidate::Direct.version(&tools), Ok(None));
}
