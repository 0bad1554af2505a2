#include "broker/metadata/topic_settings.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace millrace;
using namespace millrace::metadata;

namespace {

std::optional<std::string> nothing(std::string_view) { return std::nullopt; }

// "OK", or the message that Kafka 4.3.1 answered for the same configuration (taken from a running one).
std::string verdict(ConfigMap configs) {
  const Result<> checked = check_topic_configs(configs, nothing);
  if (checked) return "OK";
  CHECK(checked.error().code == ErrorCode::kInvalidConfig);
  return checked.error().message;
}

}  // namespace

TEST_CASE("The table has Kafka 4.3's topic configurations, sorted, each with a default and documentation") {
  const auto table = topic_settings();
  CHECK(table.size() == 34);
  CHECK(std::ranges::is_sorted(table, {}, &Setting::name));
  std::set<std::string_view> names;
  for (const Setting& setting : table) {
    INFO(setting.name);
    CHECK(names.insert(setting.name).second);
    CHECK(setting.documentation.size() > 20);
    CHECK(setting.documentation.ends_with('.'));
    if (setting.name == "internal.segment.bytes") continue;
    REQUIRE(setting.default_value);
    CHECK(check_value(setting, *setting.default_value).has_value());
    CHECK(canonical_value(setting, *setting.default_value) == *setting.default_value);
  }
}

TEST_CASE("Good topic configurations pass") {
  for (const auto& [name, value] :
       std::multimap<std::string, std::string>{{"retention.bytes", "-5"},
                                               {"cleanup.policy", "delete,delete"},
                                               {"cleanup.policy", ""},
                                               {"cleanup.policy", "delete, compact"},
                                               {"preallocate", "TRUE"},
                                               {"min.insync.replicas", "3"},
                                               {"leader.replication.throttled.replicas", "*"},
                                               {"leader.replication.throttled.replicas", "1:1,2:1"},
                                               {"remote.log.copy.disable", "true"},
                                               {"local.retention.ms", "1"},
                                               {"segment.ms", " 5 "},
                                               {"internal.segment.bytes", "1000"},
                                               {"min.compaction.lag.ms", "1000"},
                                               {"unclean.leader.election.enable", "true"},
                                               {"compression.gzip.level", "-1"},
                                               {"flush.messages", "9223372036854775807"},
                                               {"min.cleanable.dirty.ratio", "1e-1"}}) {
    INFO(name << "=" << value);
    CHECK(verdict({{name, value}}) == "OK");
  }
}

TEST_CASE("Bad topic configurations get Kafka's messages") {
  struct Case {
    std::string name, value, message;
  };
  const auto of = [](std::string name, std::string value, std::string why) {
    return Case{name, value, "Invalid value " + value + " for configuration " + name + ": " + why};
  };
  for (const Case& c : {
           Case{"nope", "1", "Unknown topic config name: nope"},
           of("segment.bytes", "x", "Not a number of type INT"),
           of("segment.bytes", "1", "Value must be at least 1048576"),
           of("segment.bytes", "99999999999", "Not a number of type INT"),
           of("retention.ms", "-2", "Value must be at least -1"),
           of("retention.ms", "", "Not a number of type LONG"),
           of("retention.ms", "x", "Not a number of type LONG"),
           of("cleanup.policy", "bogus", "String must be one of: compact, delete"),
           Case{"cleanup.policy", "compact,bogus",
                "Invalid value bogus for configuration cleanup.policy: String must be one of: compact, "
                "delete"},
           of("compression.type", "none",
              "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
           of("preallocate", "maybe", "Expected value to be either true or false"),
           Case{
               "min.cleanable.dirty.ratio", "2",
               "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
           of("min.cleanable.dirty.ratio", "abc", "Not a number of type DOUBLE"),
           of("min.insync.replicas", "0", "Value must be at least 1"),
           of("message.timestamp.type", "Foo", "String must be one of: CreateTime, LogAppendTime"),
           of("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
           of("compression.gzip.level", "10", "Value must be between 1 and 9 or equal to -1"),
           of("compression.lz4.level", "0", "Value must be at least 1"),
           of("compression.zstd.level", "23", "Value must be no more than 22"),
           Case{"leader.replication.throttled.replicas", "x",
                "Invalid value [x] for configuration leader.replication.throttled.replicas: "
                "leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the "
                "following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
           Case{"remote.storage.enable", "true",
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with "
                "remote log "
                "storage."},
           of("index.interval.bytes", "-1", "Value must be at least 0"),
           of("segment.index.bytes", "3", "Value must be at least 4"),
           of("flush.messages", "0", "Value must be at least 1"),
           Case{"message.format.version", "3.0", "Unknown topic config name: message.format.version"},
       }) {
    CHECK(verdict({{c.name, c.value}}) == c.message);
  }
  CHECK(verdict({{"max.compaction.lag.ms", "1000"}, {"min.compaction.lag.ms", "2000"}}) ==
        "conflict topic config setting min.compaction.lag.ms (2000) > max.compaction.lag.ms (1000)");
}

TEST_CASE("The broker's settings give defaults, in order and in their units") {
  const Setting& retention = *find_setting(topic_settings(), "retention.ms");
  std::map<std::string, std::string, std::less<>> broker;
  const BrokerValue lookup = [&](std::string_view name) -> std::optional<std::string> {
    const auto at = broker.find(name);
    return at == broker.end() ? std::nullopt : std::optional(at->second);
  };
  CHECK(topic_default(retention, lookup) == "604800000");
  broker["log.retention.hours"] = "2";
  CHECK(topic_default(retention, lookup) == "7200000");
  broker["log.retention.minutes"] = "3";
  CHECK(topic_default(retention, lookup) == "180000");
  broker["log.retention.minutes"] = "-1";
  CHECK(topic_default(retention, lookup) == "-1");
  broker["log.retention.ms"] = "5";
  CHECK(topic_default(retention, lookup) == "5");
  CHECK(topic_value(retention, {}, lookup) == "5");
  CHECK(topic_value(retention, {{"retention.ms", "9"}}, lookup) == "9");
}

TEST_CASE("Acknowledged means synced unless somebody says otherwise") {
  CHECK(topic_value(*find_setting(topic_settings(), "flush.messages"), {}, nothing) == "1");
}

TEST_CASE("Values are shown as Kafka shows them") {
  CHECK(canonical_value(*find_setting(topic_settings(), "cleanup.policy"), "delete, compact") ==
        "delete,compact");
  CHECK(canonical_value(*find_setting(topic_settings(), "preallocate"), " TRUE") == "true");
  CHECK(canonical_value(*find_setting(topic_settings(), "segment.ms"), " 5 ") == "5");
  CHECK(canonical_value(*find_setting(topic_settings(), "min.cleanable.dirty.ratio"), "1") == "1.0");
}
