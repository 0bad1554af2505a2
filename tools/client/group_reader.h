// Reads a topic as one of the members of a group, and commits what is done with.
//
// At least once: a position is committed only after done_with_all(), and before its partition is given away.
// What a crash leaves uncommitted comes again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tools/client/consumer.h"
#include "tools/client/membership.h"
#include "tools/client/record_source.h"

namespace millrace::tools {

struct GroupReaderOptions {
  std::string group;
  // A static member's name (group.instance.id).
  std::optional<std::string> instance;
  FetchOptions fetch;
  // Go on at the end; otherwise a partition ends where its log ended when it was assigned.
  bool follow = false;
  // Where partitions begin for which the group has committed nothing: the log's end, or its start.
  bool new_at_end = false;
};

class GroupReader : public RecordSource {
 public:
  using OnNote = std::function<void(const std::string&)>;

  // Joins the group; while another member is the same instance it is none yet, says so once, and tries again
  // with done_with_all(). The cluster must outlive the reader; for its heartbeats it connects anew, so that
  // they never wait behind a fetch. Errors are the broker's, in words.
  static Result<std::unique_ptr<GroupReader>> join(Cluster& cluster, const TopicInfo& topic,
                                                   GroupReaderOptions options, OnNote on_note);

  Result<const ConsumedRecord*> next(int64_t wait_ms) override;
  // Never with `follow`. Otherwise every partition that it has is read, or it was given none in good time.
  bool finished() const override;
  // Commits and sends heartbeats when they are due, and gives and takes partitions.
  Result<void> done_with_all() override;
  // The same, but for saying what is done with.
  std::optional<int64_t> due_in_ms() const override;
  Result<std::vector<int32_t>> keep_up() override;
  void done_with(int32_t partition, int64_t next_offset) override;
  // Commits what is done with and leaves the group; a broker that is away is waited for for so long at most.
  // Notes it if nothing was read for want of a partition.
  Result<void> leave(int64_t within_ms);

 private:
  GroupReader(Cluster& cluster, std::unique_ptr<Cluster> own, TopicInfo topic, GroupReaderOptions options,
              OnNote on_note);

  Result<void> commit();
  Result<void> beat();
  // The error to what this member sent says that the group knows nothing of it, or of this stay of it.
  bool is_lost(ErrorCode code) const;
  Result<void> take(const std::set<int32_t>& partitions);
  Result<void> look_up_topic();
  Result<void> note_if_deleted();
  void lose(int32_t partition);
  void lose_all();

  Cluster& cluster_;
  std::unique_ptr<Cluster> own_;
  TopicInfo topic_;
  GroupReaderOptions options_;
  OnNote on_note_;
  Membership membership_;
  Consumer consumer_;
  std::set<int32_t> owned_;
  // Of each owned partition what is done with, and what of it the group knows.
  std::map<int32_t, int64_t> done_;
  std::map<int32_t, int64_t> committed_;
  // Lost since keep_up() or done_with_all() was called last, though some may be owned again.
  std::vector<int32_t> lost_;
  Deadline next_commit_;
  // Without partitions by then, there will be none.
  Deadline patience_;
  bool ever_owned_ = false;
  // The topic was deleted, and that was told.
  bool is_deleted_ = false;
  // Another member is the same instance.
  bool waits_for_instance_ = false;
};

}  // namespace millrace::tools
