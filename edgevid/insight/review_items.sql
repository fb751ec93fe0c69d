-- Descriptions become items: the model's answer is what it emitted, or else the class of the highest score.
INSERT INTO items
    SELECT id, task, source, coalesce(camera, source), coalesce(run, substr(id, 1, 18)), track, coalesce(utc, ''), time_s, reason,
        coalesce(
            CASE typeof(label) WHEN 'text' THEN label
                ELSE (SELECT value FROM json_each(about, '$.names') WHERE key = label) END,
            (SELECT n.value FROM json_each(about, '$.scores') s JOIN json_each(about, '$.names') n ON n.key = s.key
                ORDER BY s.value DESC LIMIT 1),
            ''),
        confidence, names, coalesce(scores, '[]'),
        -- No names of files outside of the folder.
        iif(crop LIKE '/%' OR instr('/' || crop || '/', '/../'), NULL, crop),
        iif(film LIKE '/%' OR instr('/' || film || '/', '/../'), NULL, film),
        clip, times, coalesce(rate, :rate), coalesce(draw, draw(id)), NULL
    FROM (SELECT id, about,
        json_extract(about, '$.task') AS task, json_extract(about, '$.camera') AS camera,
        json_extract(about, '$.source') AS source, json_extract(about, '$.run') AS run,
        json_extract(about, '$.track') AS track, json_extract(about, '$.utc') AS utc,
        json_extract(about, '$.time_s') AS time_s, json_extract(about, '$.reason') AS reason,
        json_extract(about, '$.label') AS label, json_extract(about, '$.confidence') AS confidence,
        json_extract(about, '$.names') AS names, json_extract(about, '$.scores') AS scores,
        json_extract(about, '$.crop') AS crop, json_extract(about, '$.film') AS film, json_extract(about, '$.film_times_s') AS times,
        json_extract(about, '$.clip') AS clip, json_extract(about, '$.audit.rate') AS rate,
        json_extract(about, '$.audit.draw') AS draw
        FROM found WHERE json_valid(about))
    WHERE (:camera = '' OR coalesce(camera, source) = :camera) AND coalesce(utc, '') >= :after
        -- Of a database, which has all verdicts: those that a person can decide, and the sample of the emitted ones.
        AND (:rate = 0 OR reason IN ('LOW_CONFIDENCE', 'LOW_MARGIN', 'DISAGREEMENT', 'UNLIKE_TRAINING') OR (reason = 'OK' AND draw(id) < :rate));
