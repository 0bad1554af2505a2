// The list of what differs on purpose (expected_differences), each entry with its reason.
//
//   why: Records are on disk before they are acknowledged, so flush.messages is 1 here.
//   DescribeConfigs/* :: results[*].configs[flush.messages].value :: "9223372036854775807" :: "1"
//
// An entry is a step, a field, and (if given) Kafka's value and ours; each may hold stars, a star stands for
// any text. It needs a reason before it, and it must match something: one that doesn't is as wrong as a
// difference.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::differential {

struct Difference {
  std::string step;
  std::string path;
  std::string kafka;
  std::string millrace;
};

// Whether `text` matches `pattern`, in which a star stands for any text.
bool matches(std::string_view pattern, std::string_view text);

class Expectations {
 public:
  struct Entry {
    int line = 0;
    size_t reason = 0;
    std::string step, path, kafka = "*", millrace = "*";
    size_t count = 0;
  };

  // Throws std::runtime_error, with file and line, for a file that can't be read or an entry without reason.
  explicit Expectations(const std::string& path);

  // Whether the difference is on the list; the first entry that matches takes it.
  bool accept(const Difference& difference);
  // Whether it is, without counting it.
  bool knows(const Difference& difference) const;

  const std::vector<std::string>& reasons() const { return reasons_; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  const Entry* find(const Difference& difference) const;

  std::vector<std::string> reasons_;
  std::vector<Entry> entries_;
};

}  // namespace millrace::differential
