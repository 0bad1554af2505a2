// The golden messages: what Apache Kafka's encoder and JSON converter made of instances of every message that
// we describe, in every version. Written by GoldenMessages.java, see `check`.
#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::test {

struct GoldenMessage {
  std::string name;
  // request, response, record, request_header, response_header
  std::string kind;
  int16_t version = 0;
  Buffer bytes;
  std::string json;
};

inline Buffer from_hex(const std::string& hex) {
  Buffer bytes(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

// Of the first call's file; tests run in the directory tests/. Throws std::runtime_error if it isn't there.
inline const std::vector<GoldenMessage>& golden_messages(
    const std::string& path = "protocol/golden/messages.golden") {
  static const std::vector<GoldenMessage> kMessages = [&path] {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + " is missing; run in tests/");
    std::vector<GoldenMessage> messages;
    for (std::string line; std::getline(file, line);) {
      std::istringstream columns(line);
      GoldenMessage message;
      std::string version;
      std::string hex;
      std::getline(columns, message.name, '\t');
      std::getline(columns, message.kind, '\t');
      std::getline(columns, version, '\t');
      std::getline(columns, hex, '\t');
      std::getline(columns, message.json);
      message.version = static_cast<int16_t>(std::stoi(version));
      message.bytes = from_hex(hex);
      messages.push_back(std::move(message));
    }
    return messages;
  }();
  return kMessages;
}

}  // namespace millrace::test
