//! What a person sees.

use super::load;

#[test]
fn errors_show_the_place_the_fault_and_what_was_legal() {
    let text = "ringfence: 1
workloads:
  - name: shop-db
    lables: {role: db}
    addresses: [10.0.0.5]
  - name: shop-web
    labels: {role: web}
    addresses: [10.0.0.5]
networks:
  - {name: office, cidrs: [192.168.1.7/24]}
rules:
  - name: web-to-db
    from: {role: web}
    to: {role: db}
    service: postgres
    action: alow
";
    insta::assert_snapshot!(load(text).unwrap_err().render(false));
}

#[test]
fn warnings_guess_what_was_meant() {
    let text = "ringfence: 1
workloads: [{name: db, labels: {role: database}, addresses: 10.0.0.5}]
rules:
  - {name: a, from: any, to: {role: databse}, service: any}
  - {name: b, from: [{rol: database}, {workload: db}], to: any, service: any}
";
    insta::assert_snapshot!(load(text).unwrap().warnings.render(false));
}

#[test]
fn nothing_of_the_users_reaches_the_terminal_raw() {
    let text =
        "ringfence: 1\nrules: [{name: \"\\e[31mred\", from: any, to: any, service: any, \"a\\e[0m\": 1}]\n";
    let shown = load(text).unwrap_err().render(false);
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(load("ringfence: 2\n").unwrap_err().render(true).contains('\u{1b}'));
}

#[test]
fn long_lines_and_many_errors_stay_readable() {
    let many: Vec<String> = (0..2_000).map(|number| format!("{{name: n{number}, addresses: bad}}")).collect();
    let errors = load(&format!("{{ringfence: 1, workloads: [{}]}}", many.join(", "))).unwrap_err();
    assert_eq!((errors.len(), errors.omitted()), (500, 1_500));
    let longest =
        errors.iter().filter_map(|one| one.snippet.as_ref()).map(|snippet| snippet.text.len()).max();
    assert!(longest.is_some_and(|longest| (200..500).contains(&longest)), "{longest:?}");
    assert!(errors.render(false).ends_with("500 errors, 0 warnings, 1500 more not shown\n"));
}
