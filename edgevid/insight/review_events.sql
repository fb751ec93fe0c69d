-- The last verdict on each track of a database, as `--save-abstained` would describe it.
SELECT run || '~' || task || '~' || track AS id, run, track, task, camera, max(utc) AS utc, time_s,
    iif(kind = 'verdict-abstained', reason, 'OK') AS reason, label, coalesce(label_confidence, 0) AS confidence,
    (SELECT json_group_array(value) FROM runs r, json_each(r.header, '$.names."' || e.task || '"') WHERE r.run = e.run) AS names,
    (SELECT max(snapshot) FROM events s WHERE s.run = e.run AND s.track = e.track) AS crop,
    (SELECT max(clip) FROM events c WHERE c.run = e.run AND c.track = e.track) AS clip
FROM events e WHERE kind LIKE 'verdict%' GROUP BY run, track, task
