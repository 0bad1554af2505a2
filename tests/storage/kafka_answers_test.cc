// The error codes that a real Kafka gave to good and bad batches (data/ask_kafka.py), against ours.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "storage/log_validator.h"

using namespace millrace;
using namespace millrace::storage;

namespace {

struct Question {
  std::string name;
  int16_t produce_version = 0;
  Buffer records;
  ErrorCode answer{};
};

std::string field_of(std::istream& line) {
  std::string field;
  std::getline(line, field, '|');
  return field;
}

Question parse(const std::string& text) {
  std::istringstream line(text);
  Question question;
  question.name = field_of(line);
  question.produce_version = static_cast<int16_t>(std::stoi(field_of(line)));
  const std::string hex = field_of(line);
  for (size_t i = 0; i < hex.size(); i += 2) {
    question.records.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  question.answer = static_cast<ErrorCode>(std::stoi(field_of(line)));
  return question;
}

ErrorCode our_answer(Question question, int64_t now_ms) {
  const auto request = validate_produce_records(question.records, question.produce_version);
  if (!request) return request.error().code;
  ValidationOptions options;
  options.now_ms = now_ms;
  options.partition_name = "t-0";
  const auto result = validate_for_append(question.records, options);
  return result ? ErrorCode::kNone : result.error().code;
}

// Where we differ on purpose. Kafka has no error of its own for what it can't unpack: the exception ends as
// UNKNOWN_SERVER_ERROR, which blames the broker. It ignores garbage behind a gzip member, which other readers
// of the log won't. It means to renumber offsets in a compressed batch but fails at it; we do it, and in
// uncompressed batches, too, where Kafka stores the contradiction.
const std::map<std::string, ErrorCode> kDifferences = {
    {"codec 5", ErrorCode::kUnsupportedCompressionType},
    {"not gzip", ErrorCode::kInvalidRecord},
    {"not snappy", ErrorCode::kInvalidRecord},
    {"not lz4", ErrorCode::kInvalidRecord},
    {"not zstd", ErrorCode::kInvalidRecord},
    {"gzip cut", ErrorCode::kInvalidRecord},
    {"gzip bad crc", ErrorCode::kInvalidRecord},
    {"gzip without bytes", ErrorCode::kInvalidRecord},
    {"gzip and garbage", ErrorCode::kInvalidRecord},
    {"gzip offsets inside wrong", ErrorCode::kNone},
};

}  // namespace

TEST_CASE("good and bad batches get the answers that Kafka gives") {
  std::ifstream in("storage/data/kafka_answers.txt");
  std::string line;
  REQUIRE(std::getline(in, line));
  const int64_t now_ms = std::stoll(line);
  size_t questions = 0;
  size_t differences = 0;
  while (std::getline(in, line)) {
    const Question question = parse(line);
    INFO(question.name);
    const ErrorCode ours = our_answer(question, now_ms);
    const auto difference = kDifferences.find(question.name);
    CHECK(ours == (difference == kDifferences.end() ? question.answer : difference->second));
    ++questions;
    if (ours != question.answer) ++differences;
  }
  CHECK(questions == 67);
  CHECK(differences == kDifferences.size());
}
