#include "tests/differential/comparison.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>

#include "tests/differential/requests.h"

namespace millrace::differential {
namespace {

constexpr int kRetries = 8;
constexpr std::chrono::milliseconds kPause{50};
constexpr size_t kUuidText = 22;
// What follows in the refusal of a timestamp comes from the broker's clock.
constexpr std::string_view kTimeBounds = "should be within [";
const std::string kNoId = Uuid{}.to_string();

// Objects that name a topic and its id tell whose id it is.
void learn_topics(Peer& peer, Json& json) {
  Json* name = json.find("name");
  Json* id = json.find("topicId");
  if (name != nullptr && id != nullptr && name->scalar != "null" && id->scalar != kNoId) {
    if (const auto uuid = Uuid::parse(id->scalar)) peer.learn_topic(name->scalar, *uuid);
  }
  for (auto& [member, value] : json.members) learn_topics(peer, value);
}

bool is_positive(const std::string& number) { return !number.empty() && number[0] != '-' && number != "0"; }

// The script's own times are an hour old or older, or far in the future.
bool is_brokers_clock(const std::string& time_ms) {
  const int64_t age = std::strtoll(time_ms.c_str(), nullptr, 10) - kTime_ms;
  return 1'800'000 < age && age < 86'400'000;
}

// The word for a value that is the broker's own; nothing where the value counts as it is.
std::optional<std::string> word_for(Peer& peer, const std::string& name, const Json& value) {
  const std::string& text = value.scalar;
  if (name == "topicId") {
    const auto topic = peer.topic_of(text);
    if (topic) return "<id of " + *topic + ">";
  } else if (name == "clusterId") {
    if (text.size() == kUuidText) return "<cluster id>";
  } else if (name == "port") {
    if (text == std::to_string(peer.port())) return "<port>";
  } else if (name == "sessionId") {
    if (is_positive(text)) return "<session>";
  } else if (name == "producerId") {
    for (const auto& [called, id] : peer.chosen) {
      if (std::to_string(id) == text) return "<" + called + ">";
    }
  } else if (name == "logAppendTimeMs" || name == "totalBytes" || name == "usableBytes" ||
             name == "finalizedFeaturesEpoch") {
    if (is_positive(text)) return "<some>";
  } else if (name == "timestamp") {
    if (is_brokers_clock(text)) return "<now>";
  } else if (name == "batchIndexErrorMessage") {
    const size_t bounds = text.find(kTimeBounds);
    if (bounds != std::string::npos) return '"' + text.substr(0, bounds) + std::string(kTimeBounds) + '"';
  } else if (name == "logDir") {
    return "<log dir>";
  }
  return std::nullopt;
}

void replace_words(Peer& peer, Json& json) {
  for (auto& [name, value] : json.members) {
    if (value.kind != Json::Kind::kScalar) {
      replace_words(peer, value);
    } else if (const auto word = word_for(peer, name, value)) {
      value = Json{.scalar = *word};
    }
  }
}

std::vector<Difference> differences(const std::string& step, const Fields& kafka, const Fields& millrace) {
  std::set<std::string> paths;
  for (const auto& [path, value] : kafka) paths.insert(path);
  for (const auto& [path, value] : millrace) paths.insert(path);
  const auto value_at = [](const Fields& fields, const std::string& path) {
    const auto found = fields.find(path);
    return found != fields.end() ? found->second : std::string("(absent)");
  };
  std::vector<Difference> found;
  for (const std::string& path : paths) {
    Difference difference{step, path, value_at(kafka, path), value_at(millrace, path)};
    if (difference.kafka != difference.millrace) found.push_back(std::move(difference));
  }
  return found;
}

}  // namespace

void normalise(Peer& peer, Json& json) {
  learn_topics(peer, json);
  replace_words(peer, json);
}

Comparison::Comparison(Peer& kafka, Peer& millrace, Expectations& expectations, std::FILE* details)
    : kafka_(kafka), millrace_(millrace), expectations_(expectations), details_(details) {}

void Comparison::learn_versions() {
  std::map<std::string, std::map<int16_t, std::pair<int16_t, int16_t>>> served;
  ask_each(
      4,
      [](Call&) {
        return protocol::ApiVersionsRequest{"differential", "1"};
      },
      [&](Peer& peer, const protocol::ApiVersionsResponse& response) {
        for (const auto& api : response.api_keys)
          served[peer.name()][api.api_key] = {api.min_version, api.max_version};
      });
  for (const auto& [key, ours] : served[millrace_.name()]) {
    const auto theirs = served[kafka_.name()].find(key);
    if (theirs == served[kafka_.name()].end()) continue;
    versions_[key] = {std::max(ours.first, theirs->second.first),
                      std::min(ours.second, theirs->second.second)};
  }
}

bool Comparison::serve_both(protocol::ApiKey api, int16_t version) const {
  const auto found = versions_.find(static_cast<int16_t>(api));
  return found != versions_.end() && found->second.first <= version && version <= found->second.second;
}

void Comparison::wait_until(const std::function<bool(Peer&)>& done) {
  for (Peer* peer : {&kafka_, &millrace_}) {
    for (int i = 0; i < 50 * kRetries && !done(*peer); ++i) std::this_thread::sleep_for(kPause);
  }
}

void Comparison::compare(const std::string& step, bool reads, bool ordered, const Exchange& exchange) {
  if (std::getenv("DIFFERENTIAL_TRACE") != nullptr) fprintf(stderr, "%s\n", step.c_str());
  std::vector<Difference> found;
  Fields kafka, millrace;
  for (int i = 0; i < (reads ? kRetries : 1); ++i) {
    if (i > 0) std::this_thread::sleep_for(kPause);
    const auto fields = [&](Peer& peer) {
      Json json = exchange(peer);
      normalise(peer, json);
      return fields_of(json, ordered);
    };
    kafka = fields(kafka_);
    millrace = fields(millrace_);
    found = differences(step, kafka, millrace);
    const auto is_known = [&](const Difference& difference) { return expectations_.knows(difference); };
    if (std::all_of(found.begin(), found.end(), is_known)) break;
  }
  ++totals_.requests;
  totals_.fields += std::max(kafka.size(), millrace.size());
  bool failed = false;
  for (Difference& difference : found) {
    if (expectations_.accept(difference)) {
      ++totals_.expected;
    } else {
      ++totals_.unexpected;
      failed = true;
      std::fprintf(details_, "%s: %s: Kafka %s, Millrace %s\n", step.c_str(), difference.path.c_str(),
                   difference.kafka.c_str(), difference.millrace.c_str());
      std::fflush(details_);
    }
  }
  if (failed) ++totals_.failed_requests;
}

}  // namespace millrace::differential
