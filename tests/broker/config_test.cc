#include "broker/config.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "broker/advertised_address.h"
#include "broker/config_report.h"
#include "broker/config_value.h"

using namespace millrace;
using namespace millrace::broker;
using metadata::broker_settings;
using metadata::find_setting;

namespace {

LoadedConfig load(std::string_view text, ConfigSources others = {}) {
  return load_config_text(text, "my.yaml", others);
}

std::string only_error(std::string_view text, ConfigSources others = {}) {
  const LoadedConfig config = load(text, others);
  std::string all;
  for (const std::string& error : config.errors) all += error + "\n";
  if (config.errors.size() == 1) all.pop_back();
  return all;
}

std::string value(const LoadedConfig& config, std::string_view name) {
  return config.values.get(name).value_or("(none)");
}

NameService fake_names(std::string host_name, std::vector<std::string> known) {
  return {[=] { return host_name; },
          [=](const std::string& host) { return std::ranges::find(known, host) != known.end(); }};
}

std::string advertised(std::string_view text, std::vector<int32_t> bound = {}) {
  const LoadedConfig config = load(text);
  REQUIRE(config.errors == std::vector<std::string>{});
  const auto endpoints =
      advertised_endpoints(metadata::broker_config(config.values), bound,
                           fake_names("box.example", {"box.example", "127.0.0.1", "::1", "other"}));
  if (!endpoints) return endpoints.error().message;
  std::string all;
  for (const auto& e : *endpoints) {
    all += e.listener + "/" + e.security_protocol + "://" + e.host + ":" + std::to_string(e.port) + " ";
  }
  return all;
}

std::string read_from_tree(const std::string& path) {
  for (auto at = std::filesystem::current_path();; at = at.parent_path()) {
    if (std::filesystem::exists(at / path)) {
      std::ifstream in(at / path);
      std::stringstream text;
      text << in.rdbuf();
      return text.str();
    }
    REQUIRE(at != at.parent_path());
  }
}

}  // namespace

TEST_CASE("The table of settings is sorted, complete, and its defaults pass their own checks") {
  const auto table = broker_settings();
  CHECK(std::ranges::is_sorted(table, {}, &metadata::Setting::name));
  CHECK(std::ranges::adjacent_find(table, {}, &metadata::Setting::name) == table.end());
  CHECK(metadata::own_broker_settings().size() <= 50);
  for (const metadata::Setting& setting : table) {
    INFO(setting.name);
    CHECK(setting.documentation.ends_with('.'));
    if (setting.default_value) CHECK(check_value(setting, *setting.default_value).has_value());
  }
  for (const metadata::Setting& topic : metadata::topic_settings()) {
    for (std::string_view name : topic.broker_names) CHECK(find_setting(table, name) != nullptr);
  }
  CHECK(value(load(""), "log.retention.hours") == "168");
  CHECK(value(load(""), "log.retention.ms") == "(none)");
  CHECK(value(load(""), "log.flush.interval.messages") == "1");
}

TEST_CASE("Keys may be nested or dotted") {
  for (const char* text :
       {"log.retention.ms: 1000", "log: {retention: {ms: 1000}}", "log:\n  retention.ms: 1000\n",
        "{\"log\": {\"retention\": {\"ms\": \"1000\"}}}"}) {
    INFO(text);
    const LoadedConfig config = load(text);
    CHECK(config.errors == std::vector<std::string>{});
    CHECK(value(config, "log.retention.ms") == "1000");
  }
  CHECK(value(load("log.cleanup.policy: [compact, delete]"), "log.cleanup.policy") == "compact,delete");
  CHECK(value(load("log.dir: /data"), "log.dirs") == "/data");
  CHECK(load("").errors.empty());
  CHECK(load("# nothing\n").errors.empty());
}

TEST_CASE("What is wrong in a file is said with its place") {
  CHECK(only_error("a: 1\n").starts_with("my.yaml:1:1: unknown setting a; did you mean "));
  CHECK(only_error("node.id: 1\nlog:\n  retention:\n    mss: 5\n") ==
        "my.yaml:4:5: unknown setting log.retention.mss; did you mean log.retention.ms?");
  CHECK(only_error("num.partition: 3") ==
        "my.yaml:1:1: unknown setting num.partition; did you mean num.partitions?");
  CHECK(only_error("num.partitions: 3\nnum: {partitions: 4}") ==
        "my.yaml:2:7: num.partitions is already set in line 1");
  CHECK(only_error("log.dir: /a\nlog.dirs: /b") ==
        "my.yaml:2:1: log.dirs is already set in line 1, as log.dir");
  CHECK(only_error("num.partitions: many") ==
        "my.yaml:1:1: num.partitions: 'many' is not allowed: Not a number of type INT (allowed: a whole "
        "number from 1 "
        "to 10000)");
  CHECK(only_error("log.segment.bytes: 1KiB") ==
        "my.yaml:1:1: log.segment.bytes: '1KiB' is not allowed: Value must be at least 1048576 (allowed: a "
        "whole "
        "number, at least 1048576; units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)");
  CHECK(only_error("log.retention.ms: 5 parsecs") ==
        "my.yaml:1:1: log.retention.ms: '5 parsecs' is not allowed: 'parsecs' is no unit; units are ms, s, "
        "min, m, h, "
        "d, w (allowed: a whole number, at least -1; units: ms, s, min, m, h, d, w)");
  CHECK(only_error("num.partitions: [1, 2]") ==
        "my.yaml:1:1: num.partitions: a list, where one value is expected");
  CHECK(only_error("auto.create.topics.enable: yes") ==
        "my.yaml:1:1: auto.create.topics.enable: 'yes' is not allowed: Expected value to be either true or "
        "false "
        "(allowed: true or false)");
  CHECK(only_error("broker.rack:\n") ==
        "my.yaml:1:1: broker.rack has no value; to set the empty text write ''");
  CHECK(only_error("num.partitions: {a: 1}").find("unknown setting num.partitions.a") != std::string::npos);
  CHECK(only_error("- a\n- b\n") == "my.yaml:1:1: expected settings, as `name: value`");
  CHECK(only_error("node.id: 1\n---\nnode.id: 2\n").find("a second document") != std::string::npos);
  CHECK(only_error("a: [1\nb: }").starts_with("my.yaml:2:"));
  CHECK(only_error("logging.level: loud") ==
        "my.yaml:1:1: logging.level: 'loud' is not allowed: String must be one of: debug, info, warning, "
        "error, off "
        "(allowed: one of debug, info, warning, error, off)");
  CHECK(only_error("listeners: localhost:9092") ==
        "my.yaml:1:1: listeners: 'localhost:9092' is not allowed: localhost:9092 is not NAME://host:port");
  CHECK(only_error("log.dirs: /a,/b").find("Exactly one directory") != std::string::npos);
  // All at once.
  CHECK(load("a: 1\nnum.partitions: 0\nb: 2\n").errors.size() == 3);
}

TEST_CASE("Settings are also checked against each other") {
  CHECK(only_error("queued.max.request.bytes: 1MiB") ==
        "my.yaml:1: queued.max.request.bytes must be at least socket.request.max.bytes, or the largest "
        "request could "
        "never be read");
  CHECK(
      only_error("group.consumer.session.timeout.ms: 6s") ==
      "my.yaml:1: group.consumer.session.timeout.ms must be at least group.consumer.min.session.timeout.ms, "
      "which is 45000 ms; lower that too for a shorter one");
  CHECK(only_error("group.consumer.heartbeat.interval.ms: 20s") ==
        "my.yaml:1: group.consumer.heartbeat.interval.ms must be at most "
        "group.consumer.max.heartbeat.interval.ms, which is 15000 ms; raise that too for a longer one");
  CHECK(only_error("group.consumer.max.session.timeout.ms: 1s") ==
        "my.yaml:1: group.consumer.max.session.timeout.ms must be at least "
        "group.consumer.min.session.timeout.ms");
  CHECK(only_error("group.consumer.min.session.timeout.ms: 5s\ngroup.consumer.session.timeout.ms: 5s") ==
        "my.yaml:2: group.consumer.session.timeout.ms must be greater than "
        "group.consumer.heartbeat.interval.ms");
  CHECK(only_error("listeners: INSIDE://:9092")
            .find("add INSIDE:PLAINTEXT to listener.security.protocol.map") != std::string::npos);
  CHECK(only_error("listeners: 'A://:1,A://:2'").find("Each listener must have a different name") !=
        std::string::npos);
  CHECK(only_error("advertised.listeners: B://h:1") ==
        "my.yaml:1: advertised.listeners has B, which is no listener of `listeners`");
  CHECK(only_error("listeners: ''") == "my.yaml:1: listeners has no listener");
  CHECK(only_error(
            "listeners: ['A://:1', 'B://:2']\nlistener.security.protocol.map: 'A:PLAINTEXT,B:PLAINTEXT'") ==
        "");
}

TEST_CASE("The environment overrides the file, and --set overrides both") {
  ConfigSources others;
  others.environment = {"PATH=/bin", "MILLRACE_LOG_RETENTION_MS=2d", "MILLRACE_NUM_PARTITIONS=7"};
  others.sets = {"num.partitions=8", "num.partitions=9", "log.dirs = /x"};
  const LoadedConfig config = load("log.retention.ms: 1000\nnum.partitions: 5\nnode.id: 4\n", others);
  CHECK(config.errors == std::vector<std::string>{});
  CHECK(value(config, "log.retention.ms") == "172800000");
  CHECK(value(config, "num.partitions") == "9");
  CHECK(value(config, "log.dirs") == "/x");
  CHECK(config.origins.at("log.retention.ms").text == "MILLRACE_LOG_RETENTION_MS");
  CHECK(config.origins.at("num.partitions").text == "--set");
  CHECK(config.origins.at("node.id").text == "my.yaml:3");
  others = {};
  others.environment = {"MILLRACE_NUM_PARTITIONS=0"};
  CHECK(only_error("", others).starts_with("MILLRACE_NUM_PARTITIONS: num.partitions: '0' is not allowed"));
  others.environment = {"MILLRACE_NONSENSE=0"};
  CHECK(load("", others).errors.empty());
  CHECK(load("", others).warnings.size() == 1);
  others = {};
  others.sets = {"num.partitons=1", "novalue"};
  const LoadedConfig bad = load("", others);
  REQUIRE(bad.errors.size() == 2);
  CHECK(bad.errors[0] ==
        "--set num.partitons=1: unknown setting num.partitons; did you mean num.partitions?");
  CHECK(bad.errors[1] == "--set novalue: expected key=value");
}

TEST_CASE("Numbers may have units") {
  const auto plain = [](std::string_view setting, std::string_view text) {
    const Result<std::string> value = plain_value(*find_setting(broker_settings(), setting), text);
    return value ? *value : "error: " + value.error().message;
  };
  CHECK(plain("socket.request.max.bytes", "512MiB") == "536870912");
  CHECK(plain("socket.request.max.bytes", "2 MB") == "2000000");
  CHECK(plain("socket.request.max.bytes", "77") == "77");
  CHECK(plain("log.retention.ms", "7d") == "604800000");
  CHECK(plain("log.retention.ms", "10s") == "10000");
  CHECK(plain("log.retention.ms", "-1") == "-1");
  CHECK(plain("log.retention.hours", "2d") == "48");
  CHECK(plain("log.retention.minutes", "2h") == "120");
  CHECK(plain("log.retention.hours", "90m") == "error: it is not a whole number of hours");
  CHECK(plain("log.retention.ms", "99999999999999w") == "error: it is too large");
  CHECK(plain("log.retention.ms", "9999999999999999999999999s") == "error: it is too large");
  CHECK(plain("num.partitions", "1KiB") == "1KiB");  // which Kafka's check refuses
  for (const metadata::Setting& setting : broker_settings()) {
    if (!setting.default_value) continue;
    INFO(setting.name);
    CHECK(plain(setting.name, readable_value(setting, *setting.default_value)) == *setting.default_value);
  }
}

TEST_CASE("An advertised address is Kafka's choice, or refused with what to set instead") {
  CHECK(advertised("") == "PLAINTEXT/PLAINTEXT://box.example:9092 ");
  CHECK(advertised("listeners: PLAINTEXT://127.0.0.1:0", {1234}) == "PLAINTEXT/PLAINTEXT://127.0.0.1:1234 ");
  CHECK(advertised("listeners: 'PLAINTEXT://[::1]:9'") == "PLAINTEXT/PLAINTEXT://::1:9 ");
  CHECK(advertised("listeners: PLAINTEXT://0.0.0.0:9\nadvertised.listeners: PLAINTEXT://other:7") ==
        "PLAINTEXT/PLAINTEXT://other:7 ");
  CHECK(advertised("listeners: [IN://:1, OUT://:2]\nadvertised.listeners: OUT://other:3\n"
                   "listener.security.protocol.map: [IN:PLAINTEXT, OUT:PLAINTEXT]") ==
        "IN/PLAINTEXT://box.example:1 OUT/PLAINTEXT://other:3 ");
  const std::string hint =
      ". Set advertised.listeners to an address of this machine that its clients can reach, e.g. --set "
      "advertised.listeners=PLAINTEXT://box.example:";
  CHECK(advertised("listeners: PLAINTEXT://0.0.0.0:9") ==
        "listener PLAINTEXT: clients can't connect to 0.0.0.0, which stands for any address" + hint + "9");
  CHECK(advertised("listeners: 'PLAINTEXT://[::]:9'") ==
        "listener PLAINTEXT: clients can't connect to ::, which stands for any address" + hint + "9");
  CHECK(advertised("listeners: 'PLAINTEXT://[0:0::0]:9'").find("stands for any address") !=
        std::string::npos);
  CHECK(advertised("advertised.listeners: PLAINTEXT://:7") ==
        "listener PLAINTEXT: advertised.listeners has no host" + hint + "9092");
  CHECK(advertised("advertised.listeners: PLAINTEXT://other:0") ==
        "listener PLAINTEXT: advertised.listeners has port 0" + hint + "9092");
  CHECK(advertised("advertised.listeners: PLAINTEXT://nowhere:7") ==
        "listener PLAINTEXT: nowhere does not resolve to an address" + hint + "9092");
}

TEST_CASE("The system's name service knows loopback and not the impossible") {
  const NameService names = NameService::system();
  CHECK(names.resolves("127.0.0.1"));
  CHECK(!names.resolves("no such host.invalid"));
}

TEST_CASE("config check says what is wrong, or that all is well") {
  const NameService names = fake_names("box", {"box"});
  const ConfigCheck good = check_config(load("node.id: 3"), "my.yaml", names);
  CHECK(good.good);
  CHECK(good.text.starts_with("my.yaml: good; 1 of "));
  const ConfigCheck bad = check_config(load("nod.id: 3\nnum.partitions: x"), "my.yaml", names);
  CHECK(!bad.good);
  CHECK(std::ranges::count(bad.text, '\n') == 2);
  CHECK(!check_config(load("listeners: PLAINTEXT://0.0.0.0:9092"), "my.yaml", names).good);
}

TEST_CASE("config print shows every value with its origin, the JSON no less than the table") {
  const LoadedConfig config = load("log.retention.ms: 7d");
  const std::string table = print_config_table(config);
  CHECK(static_cast<size_t>(std::ranges::count(table, '\n')) == broker_settings().size() + 1);
  CHECK(table.find("my.yaml:1\n") != std::string::npos);
  const std::string json = print_config_json(config);
  CHECK(json.find(R"({"name":"log.retention.ms","value":"604800000","origin":"my.yaml:1","default":null,)"
                  R"("type":"long",)") != std::string::npos);
  CHECK(settings_help().find("  num.partitions  (int, default 1)") != std::string::npos);
}

TEST_CASE("conf/millrace.yaml is what the table says, and sets what it shows") {
  const std::string text = read_from_tree("conf/millrace.yaml");
  CHECK(text == example_config());
  // With every # before a key removed it is a valid configuration that changes nothing.
  std::stringstream in(text);
  std::string line, all;
  while (std::getline(in, line)) {
    if (line.starts_with('#') && !line.starts_with("# ") && line.size() > 1 && !line.ends_with(':')) {
      all += line.substr(1) + "\n";
    }
  }
  const LoadedConfig config = load(all);
  CHECK(config.errors == std::vector<std::string>{});
  CHECK(config.values.values.size() > 45);
  for (const auto& [name, set] : config.values.values) {
    INFO(name);
    const auto& standard = find_setting(broker_settings(), name)->default_value;
    REQUIRE(standard);
    CHECK(set == *standard);
  }
}

TEST_CASE("The other examples in conf/ are good") {
  for (const char* path : {"conf/single-node.yaml", "conf/low-latency.yaml"}) {
    INFO(path);
    CHECK(only_error(read_from_tree(path)) == "");
  }
}

TEST_CASE("A file that can't be read is an error") {
  ConfigSources sources;
  sources.file = "/nonexistent/millrace.yaml";
  REQUIRE(load_config(sources).errors.size() == 1);
  CHECK(load_config(sources).errors[0] ==
        "/nonexistent/millrace.yaml: can't be read: No such file or directory");
  sources.file = "/";
  CHECK(load_config(sources).errors.size() == 1);
}

TEST_CASE("Hostile files are refused without harm") {
  CHECK(parse_config_file(std::string(kMaxConfigFileBytes + 1, ' ')).errors.size() == 1);
  // Found by the fuzzer: yaml-cpp makes documents of this without end.
  CHECK(!parse_config_file(",isteners: [IN://:1]\n").errors.empty());
  CHECK(!parse_config_file("node.id: 1\n]\n").errors.empty());
  CHECK(!parse_config_file(std::string(100'000, '[')).errors.empty());
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "{a: ";
  CHECK(!parse_config_file(deep).errors.empty());
  // Aliases that would expand to a billion.
  std::string laughs = "a0: &a0 {x: 1, y: 2}\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " {";
    for (int j = 0; j < 9; ++j) laughs += "k" + std::to_string(j) + ": " + before + ", ";
    laughs += "z: 1}\n";
  }
  const ParsedConfigFile parsed = parse_config_file(laughs);
  CHECK(!parsed.errors.empty());
  CHECK(parsed.lines.size() <= kMaxConfigLines);
}
