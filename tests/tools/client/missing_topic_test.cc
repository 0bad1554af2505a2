// What commands do about a topic that isn't there, against a broker that creates topics when it is let.
#include <fcntl.h>

#include <set>

#include "../command_line_run.h"
#include "fake_broker.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/produce.h"

using namespace millrace;
using namespace millrace::tools;
using millrace::tools::test::FakeBroker;
using millrace::tools::test::Run;

namespace {

struct Setup {
  FakeBroker broker;
  std::set<std::string> topics = {"greetings"};
  int produced = 0;
  // Metadata requests that name a topic and may create it.
  int may_create = 0;

  Setup() {
    broker.serve_topic(1);
    broker.on(ApiKey::kMetadata, 9, [this](int16_t version, Bytes body) { return metadata(version, body); });
    broker.on(ApiKey::kProduce, 8, [this](int16_t version, Bytes body) { return produce(version, body); });
    broker.on(ApiKey::kDeleteTopics, 5, [](int16_t version, Bytes) -> std::optional<Buffer> {
      std::vector<protocol::DeleteTopicsResponse::Topic> results(1);
      results[0].name = "greetigns";
      results[0].error_code = ErrorCode::kUnknownTopicOrPartition;
      protocol::DeleteTopicsResponse answer;
      answer.responses = results;
      return FakeBroker::encoded(answer, version);
    });
  }

  std::optional<Buffer> metadata(int16_t version, Bytes body) {
    using Answer = protocol::MetadataResponse;
    Arena arena;
    const auto request = protocol::decode<protocol::MetadataRequest>(body, version, arena);
    if (!request) return std::nullopt;
    Answer answer;
    std::vector<Answer::Broker> brokers(1);
    brokers[0].node_id = 1;
    brokers[0].host = "127.0.0.1";
    brokers[0].port = broker.port();
    answer.brokers = brokers;
    std::vector<std::string> names(topics.begin(), topics.end());
    if (request->topics) {
      names.clear();
      for (const auto& topic : *request->topics) names.emplace_back(topic.name.value_or(""));
      if (!names.empty() && request->allow_auto_topic_creation) {
        ++may_create;
        topics.insert(names.begin(), names.end());
      }
    }
    std::vector<Answer::Topic> list(names.size());
    std::vector<Answer::Topic::Partition> partitions(1);
    partitions[0].leader_id = 1;
    for (size_t i = 0; i < names.size(); ++i) {
      list[i].name = names[i];
      if (topics.contains(names[i])) {
        list[i].partitions = partitions;
      } else {
        list[i].error_code = ErrorCode::kUnknownTopicOrPartition;
      }
    }
    answer.topics = list;
    return FakeBroker::encoded(answer, version);
  }

  std::optional<Buffer> produce(int16_t version, Bytes body) {
    Arena arena;
    const auto request = protocol::decode<protocol::ProduceRequest>(body, version, arena);
    if (!request) return std::nullopt;
    ++produced;
    std::vector<protocol::ProduceResponse::Topic::Partition> partitions(1);
    std::vector<protocol::ProduceResponse::Topic> answered(1);
    answered[0].name = request->topic_data[0].name;
    answered[0].partition_responses = partitions;
    protocol::ProduceResponse answer;
    answer.responses = answered;
    return FakeBroker::encoded(answer, version);
  }

  // With `input` as standard input.
  Run run(std::vector<std::string> words, const std::string& input = {}) {
    words.insert(words.end(), {"-b", "127.0.0.1:" + std::to_string(broker.port())});
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    REQUIRE(write(ends[1], input.data(), input.size()) == static_cast<ssize_t>(input.size()));
    close(ends[1]);
    const int saved = dup(STDIN_FILENO);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    Run result = test::run(tools_commands(), words);
    dup2(saved, STDIN_FILENO);
    close(saved);
    return result;
  }
};

constexpr std::string_view kWords = "no topic \"greetigns\"; did you mean \"greetings\"?";

}  // namespace

TEST_CASE("produce without a record creates no topic") {
  Setup setup;
  const Run run = setup.run({"produce", "new", "--no-idempotent"});
  INFO(run.err);
  CHECK(run.code == kExitDone);
  CHECK(run.err == "new: 0 records delivered\n");
  CHECK(setup.may_create == 0);
  CHECK_FALSE(setup.topics.contains("new"));
}

TEST_CASE("the first record creates the topic") {
  Setup setup;
  const Run run = setup.run({"produce", "new", "--no-idempotent"}, "one\ntwo\n");
  INFO(run.err);
  CHECK(run.code == kExitDone);
  CHECK(setup.topics.contains("new"));
  CHECK(setup.produced == 1);
}

TEST_CASE("a file that can't be read creates no topic") {
  Setup setup;
  CHECK(setup.run({"produce", "new", "--no-idempotent", "/nonexistent/file"}).code == kExitFailed);
  CHECK(setup.may_create == 0);
}

TEST_CASE("every command says the same of a topic that isn't there") {
  Setup setup;
  const std::string words(kWords);
  CHECK(setup.run({"consume", "greetigns"}).err == "millrace consume: " + words + "\n");
  CHECK(setup.run({"topic", "describe", "greetigns"}).err == "millrace topic describe: " + words + "\n");
  CHECK(setup.run({"produce", "greetigns", "--no-auto-create"}, "x\n").err ==
        "millrace produce: " + words + "\n");
  CHECK(setup.run({"topic", "delete", "greetigns"}).err ==
        "millrace topic delete: " + words + "; --if-exists lets that pass\n");
  CHECK(setup.run({"topic", "delete", "greetigns", "--if-exists"}).code == kExitDone);
}
