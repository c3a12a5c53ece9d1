use super::*;
use crate::policy::valid::Labels;

fn end(address: &str, who: Who, labels: &[(&str, &str)]) -> FlowEnd {
    let mut own = Labels::new();
    for (key, value) in labels {
        own.entry((*key).to_owned()).or_default().insert((*value).to_owned());
    }
    FlowEnd { address: address.parse().unwrap(), port: None, who, labels: own }
}

fn message(filter: Filter) -> String {
    format!("{:?}", filter.check(&["uplink".to_owned()]).err())
}

#[test]
fn ends_are_told_apart_in_every_way() {
    let web =
        end("10.1.0.1", Who::Workload("web".into()), &[("app", "shop"), ("app", "crm"), ("role", "web")]);
    let office = end("fd00::1", Who::Network("office".into()), &[]);
    let nobody = end("192.0.2.1", Who::Unknown, &[]);
    let (all, none) = (["web", "office", "nobody"], []);
    for (text, expected) in [
        ("app=shop", &["web"][..]),
        ("app=crm,role=web", &["web"]),
        ("app=shop, role=db", &none),
        ("web", &["web"]),
        ("web,app=shop", &["web"]),
        ("net:office", &["office"]),
        ("unknown", &["nobody"]),
        ("10.1.0.1", &["web"]),
        ("10.0.0.0/8", &["web"]),
        ("10.1.0.0/32", &none),
        ("0.0.0.0/0", &["web", "nobody"]),
        ("::/0", &["office"]),
        ("fd00::/16", &["office"]),
        ("fd00::2", &none),
        ("somebody-else", &none),
    ] {
        let filter = EndFilter::parse("from", text).unwrap();
        let admitted: Vec<&str> = all
            .into_iter()
            .zip([&web, &office, &nobody])
            .filter(|(_, end)| filter.admits(end))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(admitted, expected, "{text}");
    }
    for text in ["", "=x", "net:", "10.0.0.0/33", "10.0.0.0/x", "web,,db", &"a,".repeat(40)] {
        assert!(EndFilter::parse("from", text).is_err(), "{text}");
    }
    assert!(EndFilter::labels("label", "web").is_err());
}

#[test]
fn what_is_not_understood_names_what_is_legal() {
    let filter = Filter::default;
    for (filter, words) in [
        (Filter { verdict: Some("drop".into()), ..filter() }, "`potentially-blocked`"),
        (Filter { wire: Some("w".into()), ..filter() }, "`uplink`"),
        (Filter { service: Some("tpc".into()), ..filter() }, "there is no protocol"),
        (Filter { service: Some("tcp/0".into()), ..filter() }, "1 to 65535"),
        (Filter { label: Some("app".into()), ..filter() }, "key=value"),
        (Filter { to: Some("net:".into()), ..filter() }, "net:NAME"),
    ] {
        let message = message(filter);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn facts_are_looked_at_one_by_one() {
    let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
    let facts = Facts {
        ends: [address("10.0.0.1"), address("10.0.0.2")],
        service: 17 << 16 | 53,
        verdict: "allow",
        is_potential: true,
        wire: Some(WireId(0)),
    };
    let filter = Filter::default;
    for (asked, expected) in [
        (Filter::default(), true),
        (Filter { port: Some(53), ..filter() }, true),
        (Filter { port: Some(54), ..filter() }, false),
        (Filter { service: Some("udp".into()), ..filter() }, true),
        (Filter { service: Some("17".into()), ..filter() }, true),
        (Filter { service: Some("udp/50-60".into()), ..filter() }, true),
        (Filter { service: Some("tcp/53".into()), ..filter() }, false),
        (Filter { verdict: Some("allow".into()), ..filter() }, true),
        (Filter { verdict: Some("potentially-blocked".into()), ..filter() }, true),
        (Filter { verdict: Some("deny".into()), ..filter() }, false),
        (Filter { wire: Some("uplink".into()), ..filter() }, true),
        (Filter { wire: Some("other".into()), ..filter() }, false),
        (Filter { address: Some("10.0.0.2".parse().unwrap()), ..filter() }, true),
        (Filter { address: Some("10.0.0.3".parse().unwrap()), ..filter() }, false),
    ] {
        let told = format!("{asked:?}");
        let wanted = asked.check(&["uplink".to_owned(), "other".to_owned()]).unwrap();
        assert_eq!(wanted.admits(&facts), expected, "{told}");
    }
}
