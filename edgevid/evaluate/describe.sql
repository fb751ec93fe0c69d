-- What labeled data hold (`edgevid data describe`). Python fills items, classes, twins and left_out; found lists what may
-- spoil a training, a row for each file, scene or class; notes says it in a sentence.
CREATE TABLE items (row INTEGER PRIMARY KEY, path TEXT, scene TEXT, split TEXT, camera TEXT, day TEXT,
                    width REAL, height REAL, seconds REAL, digest TEXT);
CREATE TABLE classes (row INTEGER, class TEXT, wide REAL, high REAL);  -- a row for each label or box, of pixels or shares
CREATE TABLE twins (kind TEXT, row INTEGER, twin INTEGER);
CREATE TABLE left_out (path TEXT, reason TEXT);
CREATE TABLE kinds (rank INTEGER PRIMARY KEY, kind TEXT);
INSERT INTO kinds (kind) VALUES ('contradictory'), ('several labels'), ('near-duplicates'), ('leaks'), ('one source'),
                                ('unbalanced'), ('left out'), ('copies'), ('small');

CREATE VIEW labeled AS
SELECT items.*, path || coalesce(' (' || (SELECT group_concat(class, ', ') FROM classes WHERE row = items.row) || ')', '') AS name,
       (SELECT group_concat(class, ', ') FROM classes WHERE row = items.row) AS labels
FROM items;

CREATE VIEW sources AS
SELECT row, split, 'group' AS source, scene AS name FROM items
UNION ALL SELECT row, split, 'camera', camera FROM items WHERE camera <> ''
UNION ALL SELECT row, split, 'day', day FROM items WHERE day <> '';

CREATE VIEW several AS SELECT source FROM sources GROUP BY source HAVING count(DISTINCT name) > 1;
CREATE VIEW sizes AS  -- with those of all classes of the attribute that the class names, and of the largest
SELECT *, sum(count) OVER each AS total, max(count) OVER each AS most
FROM (SELECT class, substr(class, 1, instr(class, ': ')) AS attribute, count(*) AS count FROM classes GROUP BY class)
WINDOW each AS (PARTITION BY attribute);
CREATE VIEW by_size AS
SELECT printf('%dx%d', width, height), count(*) FROM items GROUP BY width, height ORDER BY count(*) DESC;

CREATE VIEW found (kind, what, other, note) AS
SELECT kind, a.name, b.name, CASE kind WHEN 'contradictory' THEN 'images with a near-duplicate of another label'
       ELSE 'items with a near-duplicate ' || iif((SELECT max(split) FROM items) <> '', 'in another split',
            'in another group, which may come into another split') END
FROM twins JOIN labeled a ON a.row = twins.row JOIN labeled b ON b.row = twin
WHERE kind <> 'contradictory' OR a.digest <> b.digest
UNION ALL
SELECT iif(a.labels IS b.labels, 'copies', 'several labels'), a.name, b.name,
       iif(a.labels IS b.labels, 'files that are copies of another one', 'files that are copies of one with another label')
FROM labeled a JOIN labeled b ON b.row = (SELECT min(row) FROM items WHERE digest = a.digest) AND b.row < a.row
UNION ALL
SELECT 'leaks', source || ' ' || name, group_concat(DISTINCT split),
       source || 's in several splits, so that a test is of what was trained on'
FROM sources WHERE source IN (SELECT source FROM several) GROUP BY source, name HAVING count(DISTINCT split) > 1
UNION ALL
SELECT 'one source', class, source || ' ' || min(name), 'classes from one ' || source || ', which may be learned instead'
FROM (SELECT DISTINCT classes.row, class, source, name FROM classes JOIN sources ON sources.row = classes.row)
WHERE source IN (SELECT source FROM several) GROUP BY class, source HAVING count(DISTINCT name) = 1 AND count(*) > 1
UNION ALL
SELECT 'unbalanced', class, count || ' items, ' || most || ' in the largest class',
       'classes with fewer than 10 items, or than 10 % of the largest class'
FROM sizes WHERE count < 10 OR count < most / 10.0
UNION ALL
SELECT 'left out', path, reason, 'files or lines that are left out' FROM left_out
UNION ALL
SELECT 'small', name, printf('%dx%d', width, height), 'items with a shorter side below 24 pixels' FROM labeled
WHERE min(width, height) < 24;

CREATE VIEW notes AS
SELECT printf('%s: %d, such as %s', note, count(*), min(what)) AS text FROM found JOIN kinds USING (kind) GROUP BY rank, note;

CREATE VIEW by_class AS
WITH ranked AS (
    SELECT *, count(*) OVER each AS count,
           row_number() OVER (each ORDER BY side) AS n, row_number() OVER (each ORDER BY seconds) AS m
    FROM (SELECT class, scene, seconds, min(wide * iif(wide <= 1, width, 1), high * iif(high <= 1, height, 1)) AS side
          FROM classes JOIN items USING (row)) WINDOW each AS (PARTITION BY class))
SELECT class, ranked.count, ranked.count * 1.0 / total, count(DISTINCT scene),
       CAST(round(avg(CASE WHEN n IN ((ranked.count + 1) / 2, ranked.count / 2 + 1) THEN side END)) AS INTEGER),
       avg(CASE WHEN m IN ((ranked.count + 1) / 2, ranked.count / 2 + 1) THEN seconds END)
FROM ranked JOIN sizes USING (class) GROUP BY class;
